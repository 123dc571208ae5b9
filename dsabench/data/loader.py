"""Batches from a data set: two views, small crops and the anchor for pretraining, plain images for evaluation.

The order of an epoch and every augmentation are drawn by name, so that a run resumed in the middle of an epoch sees
exactly the batches it would have seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from dsabench import rng
from dsabench.data.augment import augment
from dsabench.data.policies import POLICIES, ViewPolicies
from dsabench.data.spec import Dataset, ImageSource, Split
from dsabench.errors import UsageError, unknown
from dsabench.types import LabelledViews, Views

MOST_WORKERS = 8


def steps_per_epoch(n: int, batch_size: int) -> int:
    """How many batches `n` images give: the last partial one is dropped, and a smaller set is one batch of all."""
    if n < 1 or batch_size < 1:
        raise UsageError(f"{n} images in batches of {batch_size} make no step; both must be at least 1")
    return max(1, n // batch_size)


def pretraining_batches(
    dataset: Dataset,
    policy_name: str,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start_step: int = 0,
    device: torch.device | str,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
) -> Iterator[Views]:
    """The batches of one epoch from `start_step` on, on `device`, without labels.

    `batch_size` counts the images of all ranks together; each of `world_size` gets an equal share of every batch.
    `workers` processes read a data set that streams. Raises UsageError for an unknown policy or a batch that the
    ranks cannot share.
    """
    if policy_name not in POLICIES:
        raise unknown("view policy", policy_name, POLICIES)
    batches = _epoch(len(dataset.train), batch_size, seed, epoch, rank, world_size)[start_step:]
    draws = [(seed, "augment", epoch, start_step + i) for i in range(len(batches))]
    return _views(dataset, POLICIES[policy_name], batches, draws, rank, torch.device(device), workers)


def labelled_batches(
    dataset: Dataset,
    policy_name: str,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start_step: int = 0,
    device: torch.device | str,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
) -> Iterator[LabelledViews]:
    """The batches of `pretraining_batches`, with labels: for entries that declare `needs_labels` alone."""
    batches = pretraining_batches(
        dataset,
        policy_name,
        batch_size=batch_size,
        seed=seed,
        epoch=epoch,
        start_step=start_step,
        device=device,
        rank=rank,
        world_size=world_size,
        workers=workers,
    )
    labels = dataset.train.on(device).labels
    return (LabelledViews(v.anchor, v.view1, v.view2, v.index, labels[v.index], v.locals) for v in batches)


def reading_workers(split: Split) -> int:
    """Processes to read a split with: none where it is resident, else one a core, at most eight."""
    # No number depends on it: the order of the batches is drawn before they are read.
    return 0 if isinstance(split.images, Tensor) else min(MOST_WORKERS, os.cpu_count() or 1)


def unlabelled(views: LabelledViews) -> Views:
    """The same batch without its labels."""
    return Views(views.anchor, views.view1, views.view2, views.index, views.locals)


def image_batches(
    split: Split, dataset: Dataset, *, batch_size: int, device: torch.device | str, workers: int = 0
) -> Iterator[Tensor]:
    """All images of `split` in order, un-augmented, as float32 (B, C, H, W) normalised by `dataset`'s mean and std."""
    device = torch.device(device)
    normalise = _Normaliser(dataset, device)
    for pixels in _pixels(split, torch.split(torch.arange(len(split)), batch_size), device, workers):
        yield normalise.pixels(pixels)


def _epoch(n: int, batch_size: int, seed: int, epoch: int, rank: int, world_size: int) -> list[Tensor]:
    """This rank's share of the positions of every batch of an epoch, on the CPU."""
    size = min(batch_size, n)
    share = size // world_size
    if share < 1 or (size == batch_size and size % world_size):
        raise UsageError(f"a batch of {size} images cannot be shared equally by {world_size} processes")
    order = torch.randperm(n, generator=rng.generator(seed, "order", epoch))
    starts = range(rank * share, steps_per_epoch(n, batch_size) * size, size)
    return [order[start : start + share] for start in starts]


def _views(
    dataset: Dataset,
    policies: ViewPolicies,
    batches: Sequence[Tensor],
    draws: Sequence[tuple[int, str, int, int]],
    rank: int,
    device: torch.device,
    workers: int,
) -> Iterator[Views]:
    normalise = _Normaliser(dataset, device)
    wanted = [(policies.view1, dataset.image_size), (policies.view2, dataset.image_size)]
    if policies.locals:
        wanted += [(policies.locals.policy, policies.locals.size(dataset.image_size))] * policies.locals.count
    for index, draw, pixels in zip(batches, draws, _pixels(dataset.train, batches, device, workers), strict=True):
        view1, view2, *small = (
            normalise.unit(augment(pixels, policy, rng.generator(*draw, view, rank), size))
            for view, (policy, size) in enumerate(wanted)
        )
        yield Views(normalise.pixels(pixels), view1, view2, index.to(device), tuple(small))


def _pixels(split: Split, batches: Sequence[Tensor], device: torch.device, workers: int) -> Iterator[Tensor]:
    """The uint8 images of every batch, on `device`."""
    images = split.on(device).images
    if isinstance(images, Tensor):
        for index in batches:
            yield images[index.to(device)]
        return
    loader: DataLoader[Tensor] = DataLoader(
        _BatchReader(images, batches),
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        # Without one of its own, a DataLoader draws from the global generator.
        generator=torch.Generator(),
        # A fork of a process that runs threads, or holds a GPU, can hang.
        multiprocessing_context="spawn" if workers else None,
    )
    for pixels in loader:
        yield pixels.to(device, non_blocking=True)


class _BatchReader(TorchDataset[Tensor]):
    """A whole batch as one item, so that the DataLoader keeps the order and a worker reads a batch in one go."""

    def __init__(self, source: ImageSource, batches: Sequence[Tensor]) -> None:
        self.source = source
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, item: int) -> Tensor:
        return self.source.read(self.batches[item])


class _Normaliser:
    """(x - mean) / std per channel, from pixels in 0..255 or in [0, 1]."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        mean = torch.tensor(dataset.mean, device=device)[:, None, None]
        std = torch.tensor(dataset.std, device=device)[:, None, None]
        self.scale, self.shift = 1 / std, -mean / std

    def pixels(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.shift, images.float(), self.scale / 255)

    def unit(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.shift, images, self.scale, out=images)
