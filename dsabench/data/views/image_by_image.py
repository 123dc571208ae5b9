"""The laws of `augment` image by image through torchvision: slow, and what the batched one is measured against."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from dsabench import rng
from dsabench.data.dataset import ImageSource
from dsabench.data.reading import Batch, pictures
from dsabench.data.views.policies import ViewPolicy
from dsabench.data.views.resampling import blur_kernel

SOLARIZE_THRESHOLD = 128


@cache
def reference_transform(policy: ViewPolicy, size: int) -> Any:
    """A policy as torchvision's transforms in lightly's order: uint8 (C, H, W) to float32 (C, size, size) in [0, 1].

    Every operation but the noise rounds to uint8, as it does in lightly's pipelines.
    """
    steps = [
        v2.RandomResizedCrop(size, policy.crop_scale, policy.crop_ratio, antialias=True),
        v2.RandomHorizontalFlip(policy.flip_p),
    ]
    if policy.rotate_degrees > 0:
        # With its default, fill=0, torchvision blends what is half outside with black twice.
        steps.append(v2.RandomRotation(policy.rotate_degrees, v2.InterpolationMode.BILINEAR, fill=None))
    if policy.jitter_p > 0 and any(policy.jitter):
        steps.append(v2.RandomApply([v2.ColorJitter(*policy.jitter)], policy.jitter_p))
    if policy.grey_p > 0:
        steps.append(v2.RandomGrayscale(policy.grey_p))
    if policy.blur_p > 0:
        steps.append(v2.RandomApply([v2.GaussianBlur(blur_kernel(size), policy.blur_sigma)], policy.blur_p))
    if policy.solarize_p > 0:
        steps.append(v2.RandomSolarize(SOLARIZE_THRESHOLD, policy.solarize_p))
    steps.append(v2.ToDtype(torch.float32, scale=True))
    if policy.noise_std > 0:
        steps.append(v2.GaussianNoise(sigma=policy.noise_std))
    return v2.Compose(steps)


def reference_views(images: Tensor | ImageSource, batch: Batch) -> list[Tensor]:
    """The images of a batch as evaluation sees them, uint8, and its views, float32 (B, C, size, size) in [0, 1].

    Every view of every image has draws named after it, so that none depends on what else is in the batch.
    """
    index, draws = batch
    rows = []
    for position, (original, square) in enumerate(pictures(images, index)):
        row = [square]
        for draw in draws:
            with rng.forked_cpu(*draw.name, draw.start + position):
                row.append(reference_transform(draw.policy, draw.size)(original))
        rows.append(row)
    return [torch.stack(column) for column in zip(*rows, strict=True)]
