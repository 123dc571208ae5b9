"""What a data set is: how one is declared, and what a loaded one holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Picture(NamedTuple):
    """One image: as its file has it, uint8 (C, h, w) of any size, and `square` as evaluation sees it, (C, H, W)."""

    original: Tensor
    square: Tensor


class ImageSource(Protocol):
    """Images that are read from disk when asked for."""

    def __len__(self) -> int: ...

    def read(self, index: Tensor) -> Tensor:
        """The images at `index` (B,) as uint8 (B, C, H, W)."""

    def pictures(self, index: Tensor) -> Iterator[Picture]:
        """The same images one after another, each also as its file has it."""

    def listing(self) -> Iterator[tuple[str, int]]:
        """Every image's path below the split's folder and its size in bytes, in order."""


class Files(NamedTuple):
    """Image files that are not decoded yet: their root and their paths relative to it, with forward slashes."""

    root: Path
    paths: tuple[str, ...]

    def take(self, index: Tensor) -> Files:
        return Files(self.root, tuple(self.paths[i] for i in index.tolist()))


class RawSplit(NamedTuple):
    """Images as a builder found them, uint8 (N, C, H, W) or files, and labels (N,) int64."""

    images: Tensor | Files
    labels: Tensor

    def take(self, index: Tensor) -> RawSplit:
        images = self.images.take(index) if isinstance(self.images, Files) else self.images[index]
        return RawSplit(images, self.labels[index])


class RawDataset(NamedTuple):
    """What a builder returns: everything that may be trained on, the test images, and the names of the classes."""

    train: RawSplit
    test: RawSplit
    classes: tuple[str, ...]


@dataclass(frozen=True)
class DatasetSpec:
    """A data set's declaration. `builder(data_dir, offline)` finds the images; `image_size` None asks the files.

    `mean` and `std` are per channel, for pixels in [0, 1]; `val_fraction` of the training images is held out.
    """

    name: str
    builder: Callable[[Path | None, bool], RawDataset]
    channels: int
    image_size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    val_fraction: float = 0.1


@dataclass(frozen=True, eq=False)
class Split:
    """`labels` (N,) int64 and `images`: resident uint8 (N, C, H, W), or a source that streams them.

    `paths` (N,) are those of the files below the split's folder, where the images are files.
    `files` reads the images of a resident split as their files have them, where there are any.
    """

    labels: Tensor
    images: Tensor | ImageSource
    paths: tuple[str, ...] = ()
    files: ImageSource | None = None
    _copies: dict[torch.device, Split] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def on(self, device: torch.device | str) -> Split:
        """The split with its tensors on `device`: copied the first time, and kept as long as this split."""
        device = torch.device(device)
        if device == self.labels.device:
            return self
        if device not in self._copies:
            images = self.images.to(device) if isinstance(self.images, Tensor) else self.images
            self._copies[device] = replace(self, labels=self.labels.to(device), images=images)
        return self._copies[device]


class DataFacts(NamedTuple):
    """What a model must know of the data that it is built for, and what a run writes down of its own."""

    channels: int
    image_size: int
    num_classes: int
    num_images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A loaded data set; `mean` and `std` are per channel for pixels in [0, 1], `sha256` names its content."""

    name: str
    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str

    @property
    def scale(self) -> str:
        """`tiny` below 32 px, `small` up to 96 px, `large` above: what defaults go by."""
        if self.image_size < 32:
            return "tiny"
        return "small" if self.image_size <= 96 else "large"

    @property
    def facts(self) -> DataFacts:
        """What a model must know of it; `num_images` counts the training images."""
        return DataFacts(self.channels, self.image_size, len(self.classes), len(self.train.labels), self.mean, self.std)
