"""Some of the images of a split, in an order of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from dsabench.data.dataset import ImageSource, Picture, Split


def subset(split: Split, index: Tensor) -> Split:
    """The images and labels of a split at `index` (M,): copied where they are resident, else read when asked for."""
    images = split.images[index] if isinstance(split.images, Tensor) else ChosenImages(split.images, index)
    return Split(split.labels[index], images)


@dataclass(frozen=True)
class ChosenImages:
    """The images of a source at `index` (M,)."""

    images: ImageSource
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def read(self, index: Tensor) -> Tensor:
        """The images at `index` (B,) as uint8 (B, C, H, W)."""
        return self.images.read(self.index[index])

    def pictures(self, index: Tensor) -> Iterator[Picture]:
        """The same images one after another, each also as its file has it."""
        return self.images.pictures(self.index[index])

    def listing(self) -> Iterator[tuple[str, int]]:
        """Every image's name and its size in bytes, in order."""
        named = list(self.images.listing())
        return (named[position] for position in self.index.tolist())
