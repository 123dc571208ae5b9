"""Batches from a data set: two views, small crops and the anchor for pretraining, plain images for evaluation.

The order of an epoch and every augmentation are drawn by name, so that a run resumed in the middle of an epoch sees
exactly the batches it would have seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from dsabench import rng
from dsabench.data.dataset import Dataset, ImageSource, Split
from dsabench.data.reading import Batch, cut, in_order
from dsabench.data.views.augment import ViewDraw, Within, augment, augment_crops
from dsabench.data.views.colour import luminance
from dsabench.data.views.policies import POLICIES, ViewPolicies, ViewPolicy
from dsabench.errors import UsageError, unknown
from dsabench.transfer import send
from dsabench.types import LabelledViews, Views

MOST_WORKERS = 8


def steps_per_epoch(n: int, batch_size: int) -> int:
    """How many batches `n` images give: the last partial one is dropped, and a smaller set is one batch of all."""
    if n < 1 or batch_size < 1:
        raise UsageError(f"{n} images in batches of {batch_size} make no step; both must be at least 1")
    return max(1, n // batch_size)


def check_shares(batch_size: int, world_size: int, *, most: int | None = None) -> None:
    """Raise UsageError, with the sizes that would do, where a batch cannot be split evenly over so many processes.

    `most` is the number of images that there are.
    """
    if batch_size % world_size == 0:
        return
    below = batch_size // world_size * world_size
    above = below + world_size
    sizes = [str(size) for size in (below, above) if size > 0 and (most is None or size <= most)]
    remedy = f"--batch-size {' or '.join(sizes)} would do" if sizes else "use fewer --devices"
    raise UsageError(f"a batch of {batch_size} images cannot be split evenly over {world_size} processes; {remedy}")


def pretraining_batches(
    dataset: Dataset,
    policies: str | ViewPolicies,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start_step: int = 0,
    device: torch.device | str,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    reference: bool = False,
) -> Iterator[Views]:
    """The batches of one epoch from `start_step` on, on `device`, without labels.

    `batch_size` counts the images of all ranks together; each of `world_size` gets an equal share of every batch, the
    images and the views that one process alone would have there.
    `workers` processes read a data set that streams; `reference` draws views image by image through torchvision.
    Raises UsageError for an unknown policy or a batch that the ranks cannot share.
    """
    wanted = _wanted(_policies(policies), dataset.image_size)
    parts = _epoch(len(dataset.pretraining), batch_size, seed, epoch, rank, world_size)[start_step:]
    batches = []
    for step, index in enumerate(parts, start=start_step):
        name = (seed, "augment", epoch, step)
        within = Within(rank * len(index), world_size * len(index))
        # The 0 was the rank once, and names the draws of all runs that there are.
        draws = (ViewDraw(policy, size, (*name, view, 0), within) for view, (policy, size) in enumerate(wanted))
        batches.append((index, tuple(draws)))
    return _views(dataset, batches, torch.device(device), workers, reference)


def labelled_batches(
    dataset: Dataset,
    policies: str | ViewPolicies,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start_step: int = 0,
    device: torch.device | str,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    reference: bool = False,
) -> Iterator[LabelledViews]:
    """The batches of `pretraining_batches`, with labels: for entries that declare `needs_labels` alone."""
    batches = pretraining_batches(
        dataset,
        policies,
        batch_size=batch_size,
        seed=seed,
        epoch=epoch,
        start_step=start_step,
        device=device,
        rank=rank,
        world_size=world_size,
        workers=workers,
        reference=reference,
    )
    labels = dataset.pretraining.on(device).labels
    return (LabelledViews(v.anchor, v.view1, v.view2, v.index, labels[v.index], v.locals) for v in batches)


def reading_workers(split: Split) -> int:
    """Processes to read a split with: none where it is resident, else one a core, at most eight."""
    # No number depends on it: the order of the batches is drawn before they are read.
    return 0 if isinstance(split.images, Tensor) else min(MOST_WORKERS, os.cpu_count() or 1)


def unlabelled(views: LabelledViews) -> Views:
    """The same batch without its labels."""
    return Views(views.anchor, views.view1, views.view2, views.index, views.locals)


def image_batches(
    split: Split,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    batch_size: int,
    device: torch.device | str,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Tensor]:
    """All images of `split` in order, un-augmented, as float32 (B, C, H, W) normalised by `mean` and `std`, (C,) for
    pixels in [0, 1]; grey images become three equal channels and coloured ones their luminance where C wants that.

    Each of several ranks has its `batches_of`.
    """
    device = torch.device(device)
    normalise = _Normaliser(mean, std, device)
    parts = batches_of(len(split), batch_size, rank, world_size)
    if isinstance(images := split.on(device).images, Tensor):
        for index in parts:
            yield normalise.pixels(with_channels(images[send(index, device)], len(mean)))
        return
    for (pixels,) in in_order(partial(_squares, images), parts, device, workers):
        yield normalise.pixels(with_channels(pixels, len(mean)))


def batches_of(n: int, batch_size: int, rank: int = 0, world_size: int = 1) -> Sequence[Tensor]:
    """The positions (B,) of `n` images in batches, of several ranks those of this one: neighbours, each of one alone.

    A batch is the same however many ranks there are, so that what is computed of it is, too.
    """
    parts = torch.split(torch.arange(n), batch_size)
    return parts[len(parts) * rank // world_size : len(parts) * (rank + 1) // world_size]


def with_channels(pixels: Tensor, channels: int) -> Tensor:
    """Pixels (B, C, H, W) with `channels` channels: grey ones repeated, coloured ones turned into their luminance."""
    if pixels.shape[1] == channels:
        return pixels
    if pixels.shape[1] == 1:
        return pixels.expand(-1, channels, -1, -1)
    if channels == 1 and pixels.shape[1] == 3:
        return luminance(pixels.float())
    raise UsageError(f"images of {pixels.shape[1]} channels cannot be shown to a model that takes {channels}")


def _squares(images: ImageSource, index: Tensor) -> list[Tensor]:
    return [images.read(index)]


def _epoch(n: int, batch_size: int, seed: int, epoch: int, rank: int, world_size: int) -> list[Tensor]:
    """This rank's share of the positions of every batch of an epoch, on the CPU."""
    size = min(batch_size, n)
    check_shares(size, world_size, most=n)
    share = size // world_size
    order = torch.randperm(n, generator=rng.generator(seed, "order", epoch))
    starts = range(rank * share, steps_per_epoch(n, batch_size) * size, size)
    return [order[start : start + share] for start in starts]


def _policies(name: str | ViewPolicies) -> ViewPolicies:
    """The laws of a name, or the laws themselves; raises UsageError for an unknown name."""
    if not isinstance(name, str):
        return name
    if name not in POLICIES:
        raise unknown("view policy", name, POLICIES)
    return POLICIES[name]


def _wanted(policies: ViewPolicies, image_size: int) -> list[tuple[ViewPolicy, int]]:
    """The law and the side in pixels of every view, the small crops after the two."""
    wanted = [(policies.view1, image_size), (policies.view2, image_size)]
    if policies.locals:
        wanted += [(policies.locals.policy, policies.locals.size(image_size))] * policies.locals.count
    return wanted


def _views(
    dataset: Dataset, batches: Sequence[Batch], device: torch.device, workers: int, reference: bool
) -> Iterator[Views]:
    normalise = _Normaliser(dataset.mean, dataset.std, device)
    images = dataset.pretraining.images
    if reference:
        # It is torchvision's, which takes longer to import than a small run to train.
        from dsabench.data.views.image_by_image import reference_views

        drawn = in_order(partial(reference_views, images), batches, device, workers)
    elif isinstance(images, Tensor):
        drawn = _of_resident(dataset.pretraining, batches, device)
    else:
        drawn = _of_crops(in_order(partial(cut, images), batches, device, workers), batches)
    for (index, _), (pixels, *views) in zip(batches, drawn, strict=True):
        view1, view2, *small = map(normalise.unit, views)
        yield Views(normalise.pixels(pixels), view1, view2, send(index, device), tuple(small))


def _of_resident(split: Split, batches: Sequence[Batch], device: torch.device) -> Iterator[list[Tensor]]:
    """The uint8 images of every batch and its views, from images that live on `device`."""
    images = split.on(device).images
    assert isinstance(images, Tensor)
    for index, draws in batches:
        pixels = images[send(index, device)]
        yield [pixels, *(augment(pixels, draw.policy, draw.generator(), draw.size, draw.within) for draw in draws)]


def _of_crops(read: Iterator[list[Tensor]], batches: Sequence[Batch]) -> Iterator[list[Tensor]]:
    """The same from crops that workers have cut."""
    for (_, draws), (pixels, *crops) in zip(batches, read, strict=True):
        pairs = zip(crops, draws, strict=True)
        yield [pixels, *(augment_crops(crop, draw.policy, draw.generator(), draw.within) for crop, draw in pairs)]


class _Normaliser:
    """(x - mean) / std per channel, from pixels in 0..255 or in [0, 1]."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        wide = torch.tensor(std, device=device)[:, None, None]
        self.scale, self.shift = 1 / wide, -torch.tensor(mean, device=device)[:, None, None] / wide

    def pixels(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.shift, images.float(), self.scale / 255)

    def unit(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.shift, images, self.scale, out=images)
