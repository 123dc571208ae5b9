"""Reading image files: their common size, and decoding: all at once to one size, or a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dsabench.data.dataset import Files, Picture
from dsabench.errors import DataError

LARGEST_COMMON_SIZE = 128
"""Images that all share one square size up to this, in pixels, keep it."""

USUAL_SIZE = 224
_CHUNK = 256
_BAD_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclass(frozen=True)
class FileSource:
    """Files decoded when read, as RGB of `size` x `size` pixels: shorter side to size, then the centre."""

    files: Files
    size: int

    def __len__(self) -> int:
        return len(self.files.paths)

    def read(self, index: Tensor) -> Tensor:
        """The images at `index` (B,) as uint8 (B, 3, size, size); DataError names a file that cannot be read."""
        pixels = [np.asarray(_square(image, self.size)) for image in self._decoded(index)]
        return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()

    def pictures(self, index: Tensor) -> Iterator[Picture]:
        """The images at `index` (B,) one after another, in RGB; DataError names a file that cannot be read."""
        # It brings torch's compiler along, which evaluation has no use for.
        from torchvision.transforms.v2.functional import pil_to_tensor

        for image in self._decoded(index):
            yield Picture(pil_to_tensor(image), pil_to_tensor(_square(image, self.size)))

    def _decoded(self, index: Tensor) -> Iterator[Image.Image]:
        return (_decode(self.files.root / self.files.paths[i]) for i in index.tolist())

    def listing(self) -> Iterator[tuple[str, int]]:
        """Every image's path below the root and its size in bytes, in order."""
        for path in self.files.paths:
            yield path, (self.files.root / path).stat().st_size


def decode_all(source: FileSource) -> Tensor:
    """All images of `source` as one uint8 (N, 3, size, size); Pillow releases the lock, so threads do help."""
    images = torch.empty(len(source), 3, source.size, source.size, dtype=torch.uint8)

    def fill(part: Tensor) -> None:
        images[part] = source.read(part)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(fill, torch.split(torch.arange(len(source)), _CHUNK)):
            pass
    return images


def common_size(groups: Iterable[Files]) -> int:
    """The one square size that all files share, from their headers alone; `USUAL_SIZE` where there is none."""
    shared: tuple[int, int] | None = None
    for files in groups:
        for path in files.paths:
            size = _header(files.root / path)
            shared = shared or size
            if size != shared or size[0] != size[1] or size[0] > LARGEST_COMMON_SIZE:
                return USUAL_SIZE
    return shared[0] if shared else USUAL_SIZE


def _header(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except _BAD_IMAGE as error:
        raise _unreadable(path, error) from error


def _decode(path: Path) -> Image.Image:
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except _BAD_IMAGE as error:
        raise _unreadable(path, error) from error


def _square(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    if (width, height) == (size, size):
        return image
    shorter = min(width, height)
    width, height = round(width * size / shorter), round(height * size / shorter)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _unreadable(path: Path, error: BaseException) -> DataError:
    return DataError(f"cannot read the image {path}: {error}; repair or remove it")
