"""What is in a data set, and what is wrong with it: counts, sizes, duplicates, and the floors under any feature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dsabench import rng
from dsabench.data.dataset import Dataset, Split
from dsabench.data.duplicates import Twins, blocks, equal, flat, perceptual_keys, pixel_keys
from dsabench.data.loader import image_batches
from dsabench.data.sources.decoding import Deep, header, is_deep, largest_value, together, told_unreadable
from dsabench.errors import DataError
from dsabench.probes.base import correct_of
from dsabench.probes.knn import knn
from dsabench.types import Features

MOST_TRAIN, MOST_TEST = 10_000, 2_000
"""The floors are measured on so many images at most, a fixed draw."""

FLOOR_SIDE = 32

SHUFFLES = 5


@dataclass(frozen=True)
class Examination:
    """What was found; `floor` and `shuffled` are kNN accuracies on raw pixels, with the labels and with shuffled ones.

    `largest_share` is the accuracy of always naming the largest class; `mean` and `std` are per channel of the training
    pixels in [0, 1]; `sizes` counts the images by (width, height), `modes` by Pillow's mode, both empty for pixels
    that come from no files. `deep` are the images of 16 bits, None where there are none.
    """

    counts: dict[str, int]
    classes: tuple[str, ...]
    balance: dict[str, tuple[int, ...]]
    exact: Twins
    perceptual: Twins
    sizes: dict[tuple[int, int], int]
    modes: dict[str, int]
    deep: Deep | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    largest_share: float
    shuffled: float
    floor: float


def examine(dataset: Dataset) -> Examination:
    """Look at every image of every split once; raises DataError that names those that cannot be read."""
    repeated, unreadable = duplicates(dataset)
    if unreadable:
        raise DataError("\n".join(told_unreadable(unreadable)))
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    sizes, modes, deep = _headers(splits.values())
    mean, std = _moments(dataset.train, dataset.channels)
    counts = torch.bincount(dataset.test.labels, minlength=len(dataset.classes))
    train, test = _pixels(dataset, "train", MOST_TRAIN), _pixels(dataset, "test", MOST_TEST)
    orders = (torch.randperm(len(train.y), generator=rng.generator("doctor", "shuffled", k)) for k in range(SHUFFLES))
    return Examination(
        counts={name: len(split) for name, split in splits.items()},
        classes=dataset.classes,
        balance={
            name: tuple(torch.bincount(split.labels, minlength=len(dataset.classes)).tolist())
            for name, split in splits.items()
        },
        exact=repeated.exact,
        perceptual=repeated.perceptual,
        sizes=sizes,
        modes=modes,
        deep=deep,
        mean=mean,
        std=std,
        largest_share=float(counts.max() / counts.sum()),
        shuffled=sum(_accuracy(Features(train.x, train.y[order]), test) for order in orders) / SHUFFLES,
        floor=_accuracy(train, test),
    )


class Repeated(NamedTuple):
    """The images that have the same pixels, and those that look alike."""

    exact: Twins
    perceptual: Twins


def duplicates(dataset: Dataset) -> tuple[Repeated, list[str]]:
    """The images that are there twice among those that can be read, and what is wrong with each of the others."""
    exact: dict[str, list[bytes]] = {}
    perceptual: dict[str, list[bytes]] = {}
    unreadable: list[str] = []
    for name, split in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test)):
        exact[name], perceptual[name] = _keys(split, name, unreadable)
    return Repeated(equal(exact), equal(perceptual)), unreadable


def _keys(split: Split, name: str, unreadable: list[str]) -> tuple[list[bytes], list[bytes]]:
    """The keys of a split's images, exact and perceptual; what cannot be read is entered in `unreadable`."""
    exact: list[bytes] = []
    perceptual: list[bytes] = []
    for index, images in (read for block in blocks(len(split)) for read in _read(split, block, unreadable)):
        own = [f"{name} {position}".encode() for position in index.tolist()]
        if images is None:
            exact += own
            perceptual += own
            continue
        exact += pixel_keys(images)
        # An image of one colour looks like every other one; it says nothing.
        alone, keys = flat(images).tolist(), perceptual_keys(images)
        perceptual += [mine if bare else key for mine, bare, key in zip(own, alone, keys, strict=True)]
    return exact, perceptual


def _read(split: Split, block: Tensor, unreadable: list[str]) -> list[tuple[Tensor, Tensor | None]]:
    """The images of a block, one by one if one of them cannot be read: None for that, which is entered."""
    try:
        return [(block, split.pixels(block))]
    except DataError:
        found: list[tuple[Tensor, Tensor | None]] = []
    for index in torch.split(block, 1):
        try:
            found.append((index, split.pixels(index)))
        except DataError as error:
            unreadable.append(str(error))
            found.append((index, None))
    return found


def _headers(splits: Iterable[Split]) -> tuple[dict[tuple[int, int], int], dict[str, int], Deep | None]:
    """How many images have each size and each mode, the commonest first, and those of 16 bits."""
    deep: list[Deep] = []
    sizes: Counter[tuple[int, int]] = Counter()
    modes: Counter[str] = Counter()
    for encoded in (split.files.encoded for split in splits if split.files is not None):
        for position in range(len(encoded)):
            size, mode = header(encoded, position)
            sizes[size] += 1
            modes[mode] += 1
            if is_deep(mode):
                deep.append(Deep(largest_value(encoded, position), 1, encoded.where(position)))
    return dict(sizes.most_common()), dict(modes.most_common()), together(deep)


def _moments(split: Split, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in float64, over all pixels."""
    total = torch.zeros(channels, dtype=torch.float64)
    squares = torch.zeros_like(total)
    count = 0
    for index in blocks(len(split)):
        images = split.pixels(index)
        pixels = images.double().div(255).transpose(0, 1).flatten(1)
        total += pixels.sum(1)
        squares += pixels.square().sum(1)
        count += pixels.shape[1]
    mean = total / count
    return tuple(mean.tolist()), tuple((squares / count - mean.square()).clamp_min(0).sqrt().tolist())


def _pixels(dataset: Dataset, name: str, most: int) -> Features:
    """The normalised pixels of a fixed draw of a split, at most `FLOOR_SIDE` px a side, as features."""
    split: Split = getattr(dataset, name)
    order = torch.randperm(len(split), generator=rng.generator("doctor", name))[:most].sort().values
    parts = []
    for index in torch.split(order, 512):
        images = split.pixels(index)
        part = Split(split.labels[index], images)
        for batch in image_batches(part, dataset.mean, dataset.std, batch_size=len(index), device="cpu"):
            if dataset.image_size > FLOOR_SIDE:
                batch = torch.nn.functional.interpolate(batch, size=(FLOOR_SIDE, FLOOR_SIDE), mode="area")
            parts.append(batch.flatten(1))
    return Features(torch.cat(parts), split.labels[order])


def _accuracy(train: Features, test: Features) -> float:
    # Of many classes the draw may have missed some.
    known = torch.isin(test.y, train.y)
    test = Features(test.x[known], test.y[known])
    (answer,) = knn(train, train, test, seed=0).answers
    return float(correct_of(answer, test.y).double().mean())
