"""Decoding images: all at once to one size, or a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from dsabench.data.dataset import EncodedImages, Picture
from dsabench.errors import DataError, several

SIXTEEN_BITS = 65535
# Of images that are longer than so many times their shorter side, only the middle could reach the centre crop.
LONGEST_STRIP = 16
_CHUNK = 256
REMEDY = "; repair or remove it"
BAD_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclass(frozen=True)
class FileSource:
    """Images decoded when read, as RGB of `size` x `size` pixels: shorter side to size, then the centre."""

    encoded: EncodedImages
    size: int

    def __len__(self) -> int:
        return len(self.encoded)

    def read(self, index: Tensor) -> Tensor:
        """The images at `index` (B,) as uint8 (B, 3, size, size); DataError names a file that cannot be read."""
        return torch.stack([_square_tensor(image, self.size) for image in self._decoded(index)]).contiguous()

    def pictures(self, index: Tensor) -> Iterator[Picture]:
        """The images at `index` (B,) one after another, in RGB; DataError names a file that cannot be read."""
        # It brings torch's compiler along, which evaluation has no use for.
        from torchvision.transforms.v2.functional import pil_to_tensor

        for image in self._decoded(index):
            yield Picture(pil_to_tensor(image), pil_to_tensor(_square(image, self.size)))

    def _decoded(self, index: Tensor) -> Iterator[Image.Image]:
        return (_decode(self.encoded, i)[0] for i in index.tolist())

    def listing(self) -> Iterator[tuple[str, int]]:
        """Every image's name and its size in bytes, in order."""
        for position in range(len(self)):
            yield self.encoded.name(position), self.encoded.n_bytes(position)


@dataclass(frozen=True)
class Deep:
    """The images of 16 bits: their `largest` value, how many they are, and where the first of them lies."""

    largest: int
    count: int
    first: str


def together(found: Iterable[Deep | None]) -> Deep | None:
    """The images of 16 bits of several splits; None where no split has any."""
    deep = [one for one in found if one is not None]
    return Deep(max(one.largest for one in deep), sum(one.count for one in deep), deep[0].first) if deep else None


def decode_all(source: FileSource, unreadable: list[str]) -> tuple[Tensor, Deep | None]:
    """All images of `source` as one uint8 (N, 3, size, size), and those of 16 bits, if any.

    What cannot be read is entered in `unreadable`.
    """
    images = torch.empty(len(source), 3, source.size, source.size, dtype=torch.uint8)

    def fill(part: Tensor) -> tuple[list[str], list[Deep]]:
        wrong, deep = [], []
        for position in part.tolist():
            try:
                image, largest = _decode(source.encoded, position)
            except DataError as error:
                wrong.append(str(error))
                continue
            images[position] = _square_tensor(image, source.size)
            deep += [] if largest is None else [Deep(largest, 1, source.encoded.where(position))]
        return wrong, deep

    found = []
    # Pillow releases the lock, so threads do help.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for wrong, deep in pool.map(fill, torch.split(torch.arange(len(source)), _CHUNK)):
            unreadable += wrong
            found += deep
    return images, together(found)


def told_unreadable(unreadable: Sequence[str]) -> list[str]:
    """What a person is told of the images that cannot be read, of what errors say of each; empty where all can."""
    if len(unreadable) < 2:
        return list(unreadable)
    named = several([text.removesuffix(REMEDY) for text in unreadable])
    return [f"{len(unreadable):,} images cannot be read; repair or remove them:\n  {named}"]


def header(images: EncodedImages, position: int) -> tuple[tuple[int, int], str]:
    """The width and height of an image in pixels and its mode, without decoding it; raises DataError."""
    try:
        with Image.open(images.open(position)) as image:
            return image.size, image.mode
    except BAD_IMAGE as error:
        raise _unreadable(images, position, error) from error


def is_deep(mode: str) -> bool:
    """Whether an image of Pillow's mode has more than eight bits, as whole numbers."""
    return mode.startswith("I")


def largest_value(images: EncodedImages, position: int) -> int:
    """The largest value of an image of more than eight bits, as its file has it; raises DataError."""
    try:
        with Image.open(images.open(position)) as image:
            return int(np.asarray(image).max())
    except BAD_IMAGE as error:
        raise _unreadable(images, position, error) from error


def _decode(images: EncodedImages, position: int) -> tuple[Image.Image, int | None]:
    """The image in RGB of 8 bits, and its largest value where its file has 16; raises DataError."""
    try:
        with Image.open(images.open(position)) as opened:
            return _in_colour(opened)
    except BAD_IMAGE as error:
        raise _unreadable(images, position, error) from error


def _in_colour(image: Image.Image) -> tuple[Image.Image, int | None]:
    """The image as RGB of 8 bits, and the largest value of 16; raises ValueError for pixels that no rule brings there.

    Sixteen bits are scaled to eight, where Pillow's own conversion would cut everything above 255 off: white.
    """
    if is_deep(image.mode):
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > SIXTEEN_BITS:
            raise ValueError(f"its pixels lie in {pixels.min()} to {pixels.max()}, beyond 16 bits")
        scaled = Image.fromarray(np.rint(pixels / (SIXTEEN_BITS / 255)).astype(np.uint8)).convert("RGB")
        return scaled, int(pixels.max())
    if image.mode == "F":
        values = np.asarray(image)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise ValueError("its pixels are floating-point numbers that do not all lie in 0 to 1")
        return Image.fromarray(np.rint(values * 255).astype(np.uint8)).convert("RGB"), None
    return image.convert("RGB"), None


def _square_tensor(image: Image.Image, size: int) -> Tensor:
    """The image in RGB as uint8 (3, size, size)."""
    return torch.from_numpy(np.array(_square(image, size))).permute(2, 0, 1)


def _square(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    if (width, height) == (size, size):
        return image
    shorter = min(width, height)
    if max(width, height) > LONGEST_STRIP * shorter:
        # Of a strip the middle is kept, before it is enlarged to thousands of times its pixels.
        left, top = max(0, width - LONGEST_STRIP * shorter) // 2, max(0, height - LONGEST_STRIP * shorter) // 2
        image = image.crop((left, top, width - left, height - top))
        width, height = image.size
    width, height = round(width * size / shorter), round(height * size / shorter)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _unreadable(images: EncodedImages, position: int, error: BaseException) -> DataError:
    return DataError(f"cannot read the image {images.where(position)}: {_reason(error)}{REMEDY}")


def _reason(error: BaseException) -> str:
    """Why Pillow could not; of an image that it does not know, it would name the object that it was given."""
    return "it is no image that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
