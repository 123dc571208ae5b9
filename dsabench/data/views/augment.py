"""Two-view augmentation of whole batches: drawn per image on the CPU, computed wherever the images are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dsabench import rng
from dsabench.data.views import colour
from dsabench.data.views.policies import ViewPolicy
from dsabench.data.views.resampling import (
    Boxes,
    blur_weights,
    draw_boxes,
    fit_boxes,
    resample,
    resize_weights,
    rotate,
)
from dsabench.transfer import send

_JITTER: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    colour.brightness,
    colour.contrast,
    colour.saturation,
    colour.hue,
)
_COLOUR_ONLY = (colour.saturation, colour.hue)


class Within(NamedTuple):
    """Where the images at hand stand in a batch that several processes share: from `start` on, of `total`."""

    start: int
    total: int


class ViewDraw(NamedTuple):
    """One view of one batch: its law, its side in pixels, the name of its draws, and which of those are needed."""

    policy: ViewPolicy
    size: int
    name: tuple[int | str, ...]
    within: Within | None = None

    def generator(self) -> torch.Generator:
        """The generator that the name stands for, at its beginning."""
        return rng.generator(*self.name)

    @property
    def start(self) -> int:
        """The place of the first image at hand in its batch."""
        return self.within.start if self.within else 0


class Numbers(NamedTuple):
    """The random numbers of a batch of `total` images, of which those of `rows` are at hand: all are drawn, so that
    the images of a batch look the same however many processes share it."""

    generator: torch.Generator
    total: int
    rows: slice

    @classmethod
    def of(cls, generator: torch.Generator, images: int, within: Within | None) -> Numbers:
        """Those of `images` images."""
        start, total = within or Within(0, images)
        return cls(generator, total, slice(start, start + images))

    def uniform(self, *shape: int) -> Tensor:
        """(*shape, B) in [0, 1)."""
        return torch.rand(*shape, self.total, generator=self.generator)[..., self.rows]

    def between(self, low: float, high: float) -> Tensor:
        """(B,) in [low, high)."""
        return low + (high - low) * self.uniform()

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape), standard normal."""
        return torch.randn(self.total, *shape, generator=self.generator)[self.rows]

    def chosen(self, probability: float) -> Tensor:
        """The positions (n,) of the images that a coin of `probability` selects."""
        return (self.uniform() < probability).nonzero().squeeze(1)


def augment(
    images: Tensor,
    policy: ViewPolicy,
    generator: torch.Generator,
    size: int | None = None,
    within: Within | None = None,
) -> Tensor:
    """One view of every image: (B, C, H, W), uint8 or float in [0, 1], to float32 (B, C, size, size) in [0, 1].

    In order: random-resized crop and flip, rotation, colour jitter, grey, blur, solarize, noise. Every draw comes
    from `generator` (on the CPU) and belongs to one image, but for the order of the four jitter operations, which is
    drawn once for the batch: an approximation of torchvision's ColorJitter. A step whose strength or probability is
    0 draws nothing. Images of one channel skip saturation, hue and grey. `size` defaults to H; `within` says of which
    larger batch these are some.
    """
    batch, _, height, width = images.shape
    numbers = Numbers.of(generator, batch, within)
    drawn = draw_boxes(numbers.total, generator).of(numbers.rows)
    boxes = fit_boxes(drawn, height, width, policy.crop_scale, policy.crop_ratio)
    flips = numbers.uniform() < policy.flip_p
    return _after_flip(_crop(images, boxes, flips, size or height), policy, numbers)


def augment_crops(
    crops: Tensor, policy: ViewPolicy, generator: torch.Generator, within: Within | None = None
) -> Tensor:
    """`augment` of images whose crops were cut before, uint8 (B, C, size, size), by `draw_boxes` of the same draws."""
    numbers = Numbers.of(generator, len(crops), within)
    draw_boxes(numbers.total, generator)
    flips = send(numbers.uniform() < policy.flip_p, crops.device)
    views = torch.where(flips[:, None, None, None], crops.flip(3), crops).float().div_(255.0)
    return _after_flip(views, policy, numbers)


def _after_flip(views: Tensor, policy: ViewPolicy, numbers: Numbers) -> Tensor:
    _, channels, size, _ = views.shape
    device = views.device
    if policy.rotate_degrees > 0:
        degrees = numbers.between(-policy.rotate_degrees, policy.rotate_degrees)
        views = rotate(views, send(degrees, device))
    if policy.jitter_p > 0 and any(policy.jitter):
        _jitter(views, policy, numbers)
    if policy.grey_p > 0 and channels == 3:
        chosen = send(numbers.chosen(policy.grey_p), device)
        views[chosen] = colour.luminance(views[chosen])
    if policy.blur_p > 0:
        chosen = numbers.chosen(policy.blur_p)
        weights = blur_weights(send(numbers.between(*policy.blur_sigma)[chosen], device), size)
        chosen = send(chosen, device)
        views[chosen] = resample(views[chosen], weights, weights)
    if policy.solarize_p > 0:
        chosen = send(numbers.chosen(policy.solarize_p), device)
        views[chosen] = colour.solarize(views[chosen])
    if policy.noise_std > 0:
        views.add_(send(numbers.normal(*views.shape[1:]), device), alpha=policy.noise_std)
    return views.clamp_(0.0, 1.0)


def _crop(images: Tensor, boxes: Boxes, flips: Tensor, size: int) -> Tensor:
    # One small transfer: on a GPU each costs more than the arithmetic it feeds.
    top, left, height, width, flip = send(torch.stack((*boxes, flips.float())), images.device)
    rows = resize_weights(top, height, images.shape[2], size)
    columns = resize_weights(left, width, images.shape[3], size, reverse=flip > 0)
    if images.dtype == torch.uint8:
        rows.div_(255.0)
    return resample(images, rows, columns)


def _jitter(views: Tensor, policy: ViewPolicy, numbers: Numbers) -> None:
    """Brightness, contrast, saturation and hue of the images that `jitter_p` selects, in one drawn order."""
    chosen = numbers.chosen(policy.jitter_p)
    order = torch.randperm(len(_JITTER), generator=numbers.generator).tolist()
    draws = send(numbers.uniform(len(_JITTER))[:, chosen], views.device)
    chosen = send(chosen, views.device)
    subset = views[chosen]
    for which in order:
        operation, strength = _JITTER[which], policy.jitter[which]
        if strength == 0 or (views.shape[1] != 3 and operation in _COLOUR_ONLY):
            continue
        centre, low = (0.0, -strength) if operation is colour.hue else (1.0, max(0.0, 1.0 - strength))
        subset = operation(subset, low + (centre + strength - low) * draws[which])
    views[chosen] = subset
