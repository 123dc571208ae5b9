"""Images as a model wants them: a run as its data set brings them to size, any other model by timm's own transform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from dsabench.config.preprocess import Preprocess
from dsabench.data.dataset import Dataset, ImageSource, Split
from dsabench.data.loader import batches_of, image_batches, reading_workers, with_channels
from dsabench.data.reading import in_order, pictures
from dsabench.errors import UsageError

# Images in a batch of a model with a transform of its own: so many pixels, as 64 images of 224 x 224.
BATCH_PIXELS = 64 * 224 * 224


def prepared_batches(
    split: Split,
    preprocess: Preprocess,
    *,
    batch_size: int,
    device: torch.device,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Tensor]:
    """All images of `split` in order, float32 (B, C, H, W) as `preprocess` says, at most `batch_size` at a time.

    Each of several ranks has its share of the batches.

    Raises UsageError for images whose channels cannot be the model's.
    """
    if preprocess.crop_pct is None:
        yield from image_batches(
            split,
            preprocess.mean,
            preprocess.std,
            batch_size=batch_size,
            device=device,
            workers=reading_workers(split),
            rank=rank,
            world_size=world_size,
        )
        return
    images = split.files or split.images
    together = max(1, min(batch_size, BATCH_PIXELS // preprocess.image_size**2))
    parts = batches_of(len(split), together, rank, world_size)
    workers = 0 if isinstance(split.images, Tensor) else reading_workers(split)
    for (batch,) in in_order(partial(transformed, images, preprocess), parts, device, workers):
        yield batch


def trained_on(dataset: Dataset, preprocess: Preprocess, images: Split) -> Dataset:
    """A data set whose training images are these, as a model takes them: its size, channels, mean and deviation.

    Raises ValueError for images that stream and have other channels.
    """
    if dataset.channels != preprocess.channels:
        if not isinstance(images.images, Tensor):
            raise ValueError(
                f"images that stream and have other than {preprocess.channels} channels cannot be trained on"
            )
        pixels = with_channels(images.images, preprocess.channels).round().to(torch.uint8)
        images = Split(images.labels, pixels)
    return replace(
        dataset,
        train=images,
        channels=preprocess.channels,
        image_size=preprocess.image_size,
        mean=preprocess.mean,
        std=preprocess.std,
        contaminated=None,
    )


def of_crops(dataset: Dataset) -> str:
    """The policy of views for a model of which it is not known."""
    # A written digit that is mirrored is another one.
    return "digits" if dataset.scale == "tiny" else "crops"


def transformed(images: Tensor | ImageSource, preprocess: Preprocess, index: Tensor) -> list[Tensor]:
    """The images at `index` (B,), each by timm's transform for evaluation: one tensor (B, C, H, W)."""
    # Slow to import, and no run needs them.
    from timm.data.transforms_factory import create_transform
    from torchvision.transforms.v2.functional import to_pil_image

    transform = create_transform(
        (preprocess.channels, preprocess.image_size, preprocess.image_size),
        interpolation=preprocess.interpolation,
        mean=preprocess.mean,
        std=preprocess.std,
        crop_pct=preprocess.crop_pct,
        crop_mode=preprocess.crop_mode,
    )
    mode = {1: "L", 3: "RGB"}[preprocess.channels]
    rows = []
    for picture in pictures(images, index):
        original = picture.original
        if original.shape[0] not in (1, 3):
            raise UsageError(f"images of {original.shape[0]} channels cannot be shown to a model of {mode} images")
        if original.dtype != torch.uint8:
            original = original.round().clamp(0, 255).to(torch.uint8)
        rows.append(transform(to_pil_image(original).convert(mode)))
    return [torch.stack(rows)]
