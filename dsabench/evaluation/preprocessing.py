"""Images as a model wants them: a run as its data set brings them to size, any other model by timm's own transform."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from dsabench.config.preprocess import Preprocess
from dsabench.data.dataset import ImageSource, Split
from dsabench.data.loader import batches_of, image_batches, reading_workers
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
