"""Crops, resizing, flips, blur and rotation of a whole batch, with parameters of its own for every image.

All linear resampling along an axis is a matrix, so that a batch of different crops is two batched matrix products.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, one_hot

ATTEMPTS = 10
"""How often torchvision's RandomResizedCrop draws before it takes the central crop."""


class Boxes(NamedTuple):
    """Crops in pixels: `top`, `left`, `height`, `width`, each (B,) float32 with whole values."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


class BoxDraws(NamedTuple):
    """The uniform numbers that crops are made from, before any size is known: `shape` (2, 10, B), `corner` (2, B)."""

    shape: Tensor
    corner: Tensor

    def of(self, images: slice) -> BoxDraws:
        """Those of some images of the batch."""
        return BoxDraws(self.shape[:, :, images], self.corner[:, images])


def draw_boxes(batch: int, generator: torch.Generator) -> BoxDraws:
    """All attempts of all images at once."""
    shape = torch.rand(2, ATTEMPTS, batch, generator=generator)
    return BoxDraws(shape, torch.rand(2, batch, generator=generator))


def fit_boxes(
    draws: BoxDraws, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Boxes:
    """The crops that `draws` stand for in images of `height` x `width` pixels.

    With `draw_boxes` it is the law of torchvision's RandomResizedCrop.get_params.
    """
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws.shape[0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    root_aspect = torch.exp(0.5 * (low + (high - low) * draws.shape[1]))
    root_area = area.sqrt()
    w, h = (root_area * root_aspect).round(), (root_area / root_aspect).round()
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = fits.byte().argmax(0, keepdim=True)
    found = fits.any(0)
    central_h, central_w = _central(height, width, ratio)
    h = torch.where(found, h.gather(0, first)[0], torch.full((), float(central_h)))
    w = torch.where(found, w.gather(0, first)[0], torch.full((), float(central_w)))
    # A float32 just below 1 times the range can round up to the range itself, one past the last place.
    top = torch.where(
        found, (draws.corner[0] * (height - h + 1)).floor().minimum(height - h), ((height - h) / 2).floor()
    )
    left = torch.where(found, (draws.corner[1] * (width - w + 1)).floor().minimum(width - w), ((width - w) / 2).floor())
    return Boxes(top, left, h, w)


def _central(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """The crop that torchvision falls back to: the whole image, or its largest central part within `ratio`."""
    if width / height < ratio[0]:
        return round(width / ratio[0]), width
    if width / height > ratio[1]:
        return height, round(height * ratio[1])
    return height, width


def resize_weights(start: Tensor, length: Tensor, inputs: int, outputs: int, reverse: Tensor | None = None) -> Tensor:
    """Matrices (B, outputs, inputs) that cut [start, start + length) and resize it to `outputs`, antialiased bilinear.

    Equal to a crop followed by torchvision's `resize(antialias=True)` along that axis; rows are reversed (a flip)
    where `reverse` (B,) is true. `start` and `length` are (B,) in pixels.
    """
    rows = torch.arange(outputs, device=start.device).add(0.5)
    if reverse is not None:
        rows = torch.where(reverse[:, None], outputs - rows, rows)
    scale = (length / outputs)[:, None]
    centres = torch.addcmul(start[:, None], scale, rows)
    pixels = torch.arange(inputs, device=start.device).add(0.5)
    inside = (pixels > start[:, None]) & (pixels < (start + length)[:, None])
    support = scale.clamp_min(1.0)
    # The triangle filter of PIL and torch: it widens when shrinking and knows nothing outside the crop.
    distance = (centres / support)[:, :, None] - (pixels / support)[:, None, :]
    weights = distance.abs_().neg_().add_(1.0).clamp_min_(0.0).mul_(inside[:, None, :])
    return weights.div_(weights.sum(2, keepdim=True))


def blur_weights(sigma: Tensor, size: int) -> Tensor:
    """Matrices (B, size, size) of a Gaussian blur with `sigma` (B,) pixels and reflected borders.

    The kernel has `blur_kernel(size)` taps, as torchvision's `gaussian_blur` with that kernel size.
    """
    radius = blur_kernel(size) // 2
    taps = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.softmax(-0.5 * (taps / sigma[:, None]) ** 2, dim=1)
    source = (torch.arange(size, device=sigma.device)[:, None] + taps).abs()
    source = torch.where(source >= size, 2 * (size - 1) - source, source)
    spread = one_hot(source, size).to(kernel.dtype)
    return torch.einsum("bk,oki->boi", kernel, spread)


def blur_kernel(size: int) -> int:
    """A tenth of the side, odd, at least 3 taps (SimCLR, arXiv 2002.05709, appendix A)."""
    return max(3, int(0.1 * size) // 2 * 2 + 1)


def resample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Apply `rows` (B, H', H) and `columns` (B, W', W) to `images` (B, C, H, W); gives contiguous (B, C, H', W')."""
    batch, channels, height, width = images.shape
    by_row = images.permute(0, 2, 1, 3).to(rows.dtype).reshape(batch, height, channels * width)
    cut = torch.bmm(rows, by_row).view(batch, -1, width)
    cut = torch.bmm(cut, columns.transpose(1, 2)).view(batch, -1, channels, columns.shape[1])
    return cut.permute(0, 2, 1, 3).contiguous()


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn `images` (B, C, H, W) by `degrees` (B,) about the centre: bilinear, black outside."""
    angle = torch.deg2rad(degrees)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    height, width = images.shape[2:]
    # affine_grid's coordinates run from -1 to 1 along either side, so a turn in pixels is not one in them.
    turn = torch.stack((cosine, -sine * height / width, zero, sine * width / height, cosine, zero), 1).view(-1, 2, 3)
    grid = affine_grid(turn, list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
