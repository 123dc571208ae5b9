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
    random_boxes,
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


class ViewDraw(NamedTuple):
    """One view of one batch: its law, its side in pixels, and the name of its draws."""

    policy: ViewPolicy
    size: int
    name: tuple[int | str, ...]

    def generator(self) -> torch.Generator:
        """The generator that the name stands for, at its beginning."""
        return rng.generator(*self.name)


def augment(images: Tensor, policy: ViewPolicy, generator: torch.Generator, size: int | None = None) -> Tensor:
    """One view of every image: (B, C, H, W), uint8 or float in [0, 1], to float32 (B, C, size, size) in [0, 1].

    In order: random-resized crop and flip, rotation, colour jitter, grey, blur, solarize, noise. Every draw comes
    from `generator` (on the CPU) and belongs to one image, but for the order of the four jitter operations, which is
    drawn once for the batch: an approximation of torchvision's ColorJitter. A step whose strength or probability is
    0 draws nothing. Images of one channel skip saturation, hue and grey. `size` defaults to H.
    """
    batch, _, height, width = images.shape
    boxes = random_boxes(batch, height, width, policy.crop_scale, policy.crop_ratio, generator)
    flips = torch.rand(batch, generator=generator) < policy.flip_p
    return _after_flip(_crop(images, boxes, flips, size or height), policy, generator)


def augment_crops(crops: Tensor, policy: ViewPolicy, generator: torch.Generator) -> Tensor:
    """`augment` of images whose crops were cut before, uint8 (B, C, size, size), by `draw_boxes` of the same draws."""
    draw_boxes(len(crops), generator)
    flips = send(torch.rand(len(crops), generator=generator) < policy.flip_p, crops.device)
    views = torch.where(flips[:, None, None, None], crops.flip(3), crops).float().div_(255.0)
    return _after_flip(views, policy, generator)


def _after_flip(views: Tensor, policy: ViewPolicy, generator: torch.Generator) -> Tensor:
    batch, channels, size, _ = views.shape
    device = views.device
    if policy.rotate_degrees > 0:
        degrees = _uniform(batch, -policy.rotate_degrees, policy.rotate_degrees, generator)
        views = rotate(views, send(degrees, device))
    if policy.jitter_p > 0 and any(policy.jitter):
        _jitter(views, policy, generator)
    if policy.grey_p > 0 and channels == 3:
        chosen = send(_chosen(batch, policy.grey_p, generator), device)
        views[chosen] = colour.luminance(views[chosen])
    if policy.blur_p > 0:
        chosen = _chosen(batch, policy.blur_p, generator)
        weights = blur_weights(send(_uniform(batch, *policy.blur_sigma, generator)[chosen], device), size)
        chosen = send(chosen, device)
        views[chosen] = resample(views[chosen], weights, weights)
    if policy.solarize_p > 0:
        chosen = send(_chosen(batch, policy.solarize_p, generator), device)
        views[chosen] = colour.solarize(views[chosen])
    if policy.noise_std > 0:
        views.add_(send(torch.randn(views.shape, generator=generator), device), alpha=policy.noise_std)
    return views.clamp_(0.0, 1.0)


def _crop(images: Tensor, boxes: Boxes, flips: Tensor, size: int) -> Tensor:
    # One small transfer: on a GPU each costs more than the arithmetic it feeds.
    top, left, height, width, flip = send(torch.stack((*boxes, flips.float())), images.device)
    rows = resize_weights(top, height, images.shape[2], size)
    columns = resize_weights(left, width, images.shape[3], size, reverse=flip > 0)
    if images.dtype == torch.uint8:
        rows.div_(255.0)
    return resample(images, rows, columns)


def _jitter(views: Tensor, policy: ViewPolicy, generator: torch.Generator) -> None:
    """Brightness, contrast, saturation and hue of the images that `jitter_p` selects, in one drawn order."""
    chosen = _chosen(len(views), policy.jitter_p, generator)
    order = torch.randperm(len(_JITTER), generator=generator).tolist()
    draws = send(torch.rand(len(_JITTER), len(views), generator=generator)[:, chosen], views.device)
    chosen = send(chosen, views.device)
    subset = views[chosen]
    for which in order:
        operation, strength = _JITTER[which], policy.jitter[which]
        if strength == 0 or (views.shape[1] != 3 and operation in _COLOUR_ONLY):
            continue
        centre, low = (0.0, -strength) if operation is colour.hue else (1.0, max(0.0, 1.0 - strength))
        subset = operation(subset, low + (centre + strength - low) * draws[which])
    views[chosen] = subset


def _chosen(batch: int, probability: float, generator: torch.Generator) -> Tensor:
    """The positions (n,) of the images that a coin of `probability` selects."""
    return (torch.rand(batch, generator=generator) < probability).nonzero().squeeze(1)


def _uniform(batch: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(batch, generator=generator)
