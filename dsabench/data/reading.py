"""What is done image by image, on the CPU: decode, and cut the crops of every view from the image as its file has it.

In processes of their own for a data set that streams; batches arrive in their order, read ahead and in pinned memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from dsabench.data.dataset import ImageSource, Picture
from dsabench.data.views.augment import ViewDraw
from dsabench.data.views.resampling import draw_boxes, fit_boxes
from dsabench.transfer import send

Batch = tuple[Tensor, tuple[ViewDraw, ...]]
"""The positions (B,) of a batch's images and the draws of its views."""

Item = TypeVar("Item")


def pictures(images: Tensor | ImageSource, index: Tensor) -> Iterator[Picture]:
    """The images at `index` (B,) one after another; one that is resident is its own original."""
    if isinstance(images, Tensor):
        return (Picture(image, image) for image in images[index])
    return images.pictures(index)


def cut(images: Tensor | ImageSource, batch: Batch) -> list[Tensor]:
    """The images of a batch as evaluation sees them, and the crops of each view, uint8 (B, C, size, size).

    A crop is torchvision's `resized_crop(antialias=True)`; `augment_crops` of the same draws makes it a view.
    """
    # It brings torch's compiler along, which what is resident has no use for.
    from torchvision.transforms.v2 import functional as transform

    index, draws = batch
    boxes = [
        draw_boxes(draw.within.total if draw.within else len(index), draw.generator()).of(
            slice(draw.start, draw.start + len(index))
        )
        for draw in draws
    ]
    rows = []
    for position, (original, square) in enumerate(pictures(images, index)):
        row = [square]
        for draw, drawn in zip(draws, boxes, strict=True):
            _, height, width = original.shape
            law, size, one = draw.policy, draw.size, drawn.of(slice(position, position + 1))
            box = fit_boxes(one, height, width, law.crop_scale, law.crop_ratio)
            row.append(transform.resized_crop(original, *(int(side) for side in box), [size, size], antialias=True))
        rows.append(row)
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def in_order(
    read: Callable[[Item], list[Tensor]], items: Sequence[Item], device: torch.device, workers: int
) -> Iterator[list[Tensor]]:
    """`read(item)` for every item in order, on `device`; `workers` processes read ahead, 0 reads here."""
    loader: DataLoader[list[Tensor]] = DataLoader(
        _Calls(read, items),
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        # Without one of its own, a DataLoader draws from the global generator.
        generator=torch.Generator(),
        # A fork of a process that runs threads, or holds a GPU, can hang.
        multiprocessing_context="spawn" if workers else None,
    )
    for tensors in loader:
        yield [send(tensor, device) for tensor in tensors]


class _Calls(TorchDataset[list[Tensor]]):
    """A whole batch as one item, so that the DataLoader keeps the order and a worker reads a batch in one go."""

    def __init__(self, read: Callable[[Item], list[Tensor]], items: Sequence[Item]) -> None:
        self.call, self.items = read, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, item: int) -> list[Tensor]:
        return self.call(self.items[item])
