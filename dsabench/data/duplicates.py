"""Images that are there twice: the same pixels, or nearly the same to look at."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.fft import dctn
from torch import Tensor
from torch.nn.functional import interpolate

from dsabench.data.views.colour import luminance

_SIDE, _LOW = 32, 8


Group = tuple[tuple[str, int], ...]
"""Equal images, each as its split and its position."""


class Twins(NamedTuple):
    """Groups of equal images, splits in the order they were given."""

    groups: tuple[Group, ...]

    def within(self, split: str) -> int:
        """How many images of a split are there besides the first of their group in it."""
        counts = (sum(name == split for name, _ in group) for group in self.groups)
        return sum(count - 1 for count in counts if count > 1)

    def across(self, split: str, other: str) -> int:
        """How many images of `split` are in `other` too."""
        shared = (group for group in self.groups if any(name == other for name, _ in group))
        return sum(name == split for group in shared for name, _ in group)


def equal(keys: Mapping[str, Sequence[bytes]]) -> Twins:
    """The images of splits (name -> one key an image) whose keys are the same."""
    places: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for split, of_images in keys.items():
        for position, key in enumerate(of_images):
            places[key].append((split, position))
    return Twins(tuple(tuple(group) for group in places.values() if len(group) > 1))


def pixel_keys(images: Tensor) -> list[bytes]:
    """The SHA-256 of the pixels of each of `images` (N, C, H, W) uint8."""
    return [hashlib.sha256(image.numpy().tobytes()).digest() for image in images.contiguous()]


def perceptual_keys(images: Tensor) -> list[bytes]:
    """The perceptual hash of each of `images` (N, C, H, W) uint8, 63 bits: which of the lowest frequencies of its
    brightness lie above their median, as pHash has it (Zauner 2010).

    It is the same for images that differ in size, compression or a little in brightness. Images without any contrast
    share one.
    """
    grey = images.float() if images.shape[1] == 1 else luminance(images.float())
    small = interpolate(grey, size=(_SIDE, _SIDE), mode="bilinear", antialias=True)[:, 0].numpy()
    frequencies = dctn(small, axes=(1, 2), norm="ortho")[:, :_LOW, :_LOW].reshape(len(images), -1)[:, 1:]
    # What is rounding noise must not look like a picture.
    frequencies = np.where(np.abs(frequencies) < 1e-2, 0.0, frequencies)
    bits = frequencies > np.median(frequencies, axis=1, keepdims=True)
    return [row.tobytes() for row in np.packbits(bits, axis=1)]


def flat(images: Tensor) -> Tensor:
    """Which of `images` (N, C, H, W) uint8 have one colour alone: bool (N,)."""
    pixels = images.flatten(2)
    return (pixels.amax(2) == pixels.amin(2)).all(1)


def blocks(n: int, rows: int = 512) -> list[Tensor]:
    """The positions 0 to `n` in blocks of `rows`."""
    return list(torch.split(torch.arange(n), rows))
