"""What a data set is: how one is declared, and what a loaded one holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from dsabench.data.data_config import DataConfig


class Picture(NamedTuple):
    """One image: as its file has it, uint8 (C, h, w) of any size, and `square` as evaluation sees it, (C, H, W)."""

    original: Tensor
    square: Tensor


class EncodedImages(Protocol):
    """Images as a source keeps them, not decoded yet; each has a name that is the same wherever the source lies."""

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> EncodedImages:
        """Those at `index` (n,)."""

    def name(self, position: int) -> str:
        """The name of one, with forward slashes: what groups are read off, and what stands in the hash of the data."""

    def n_bytes(self, position: int) -> int:
        """How many bytes one has, encoded."""

    def open(self, position: int) -> Path | BinaryIO:
        """One as Pillow opens it."""

    def where(self, position: int) -> str:
        """Where one lies, for people."""


class ImageSource(Protocol):
    """Images that are read when asked for."""

    def __len__(self) -> int: ...

    def read(self, index: Tensor) -> Tensor:
        """The images at `index` (B,) as uint8 (B, C, H, W)."""

    def pictures(self, index: Tensor) -> Iterator[Picture]:
        """The same images one after another, each also as its file has it."""

    def listing(self) -> Iterator[tuple[str, int]]:
        """Every image's name and its size in bytes, in order."""


class StoredImages(ImageSource, Protocol):
    """Images that are read from where they are stored; `encoded` are the same images, not decoded."""

    @property
    def encoded(self) -> EncodedImages: ...


@dataclass(frozen=True)
class Files:
    """Image files: their root and their paths relative to it, with forward slashes."""

    root: Path
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, index: Tensor) -> Files:
        return Files(self.root, tuple(self.paths[i] for i in index.tolist()))

    def name(self, position: int) -> str:
        return self.paths[position]

    def n_bytes(self, position: int) -> int:
        return self.open(position).stat().st_size

    def open(self, position: int) -> Path:
        return self.root / self.paths[position]

    def where(self, position: int) -> str:
        return str(self.open(position))


class RawSplit(NamedTuple):
    """Images as a builder found them, uint8 (N, C, H, W) or not decoded yet, and labels (N,) int64."""

    images: Tensor | EncodedImages
    labels: Tensor

    def take(self, index: Tensor) -> RawSplit:
        images = self.images[index] if isinstance(self.images, Tensor) else self.images.take(index)
        return RawSplit(images, self.labels[index])


class RawDataset(NamedTuple):
    """What a builder returns: what may be trained on, the test images, and the names of the classes.

    Where `test` is None a fifth of `train` is held out for it; where there is no `val` of its own, a share of `train`.
    `test_from` says where the test images come from where that is not plain; `ignored` counts what was left out, and
    `ignored_names` has the first names of it. Where there are `problems`, nothing can be made of it: they are told
    together with the images that cannot be read. `cautions` are said of what can be read.
    """

    train: RawSplit
    test: RawSplit | None
    classes: tuple[str, ...]
    val: RawSplit | None = None
    test_from: str = ""
    ignored: int = 0
    ignored_names: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetSpec:
    """A data set's declaration. `builder(config, offline)` finds the images; `image_size` None asks the files.

    `mean` and `std` are per channel, for pixels in [0, 1]; `val_fraction` of the training images is held out, groups
    that `group_by` tells apart by the names of files as a whole.
    """

    name: str
    builder: Callable[[DataConfig, bool], RawDataset]
    channels: int
    image_size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    val_fraction: float = 0.1
    group_by: str | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """`labels` (N,) int64 and `images`: resident uint8 (N, C, H, W), or a source that streams them.

    `files` reads the images of a resident split as their files have them, where there are any.
    """

    labels: Tensor
    images: Tensor | ImageSource
    files: StoredImages | None = None
    _copies: dict[torch.device, Split] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def paths(self) -> tuple[str, ...]:
        """The names of the images (N,) in their source; empty where they were not read from files."""
        return tuple(map(self.files.encoded.name, range(len(self.files)))) if self.files else ()

    def pixels(self, index: Tensor) -> Tensor:
        """The images at `index` (B,) as uint8 (B, C, H, W)."""
        return self.images[index] if isinstance(self.images, Tensor) else self.images.read(index)

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


class Contaminated(NamedTuple):
    """The training images with a share of them replaced, and which of them were, (N,) bool: for the log alone."""

    split: Split
    replaced: Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """A loaded data set; `mean` and `std` are per channel for pixels in [0, 1], `sha256` names its content.

    `notes` say what was read, a line each: first counts, where each split came from and the size.
    What is trained on is `pretraining`: `train`, or what `contaminated` makes of it, of which evaluation sees nothing.
    """

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
    notes: tuple[str, ...] = ()
    contaminated: Contaminated | None = None

    @property
    def pretraining(self) -> Split:
        """The images that a method is trained on; labels of images that were replaced are those that were there."""
        return self.contaminated.split if self.contaminated else self.train

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
