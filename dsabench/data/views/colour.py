"""Colour operations on float images in [0, 1] with one factor per image, as torchvision.transforms.v2 defines them.

Every function takes `images` (B, C, H, W) and `factor` (B,), may write into `images`, and returns the result.
"""

from __future__ import annotations

import torch
from torch import Tensor

SOLARIZE_THRESHOLD = 128 / 255


def luminance(images: Tensor) -> Tensor:
    """The grey image (B, 1, H, W) of RGB ones by the weights of ITU-R 601; a single channel is its own."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Scale towards black (factor 0)."""
    return images.mul_(_wide(factor)).clamp_(0.0, 1.0)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale towards the image's mean luminance (factor 0)."""
    mean = luminance(images).flatten(1).mean(1)
    return images.mul_(_wide(factor)).add_(_wide(mean * (1.0 - factor))).clamp_(0.0, 1.0)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Scale towards the grey image (factor 0)."""
    grey = luminance(images).mul_(_wide(1.0 - factor))
    return images.mul_(_wide(factor)).add_(grey).clamp_(0.0, 1.0)


def hue(images: Tensor, factor: Tensor) -> Tensor:
    """Turn the hue by `factor` of a full circle, in [-0.5, 0.5].

    HSV without its six cases: with V the brightest channel, C the chroma and h the hue in sixths of the circle, a
    channel is V - C * clamp(2 - d, 0, 1), where d is the distance on the circle between h and the hue opposite to
    that channel (cyan for red, at 3; magenta for green, at 5; yellow for blue, at 1).
    """
    red, green, blue = images.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    # 0 or 1 as numbers: torch.where takes several times as long on a CPU, and products with 0 and 1 are exact.
    red_leads = red.clone().eq_(value)
    green_leads = green.clone().eq_(value).mul_(1.0 - red_leads)
    blue_leads = (1.0 - red_leads).sub_(green_leads)
    angle = (green - blue).mul_(red_leads).addcmul_(blue - red, green_leads).addcmul_(red - green, blue_leads)
    angle.div_(chroma.clamp_min(1e-12))
    angle.add_(blue_leads.mul_(2.0).add_(green_leads).mul_(2.0))
    angle.add_((6.0 * factor)[:, None, None])
    for channel, opposite in enumerate((3.0, 5.0, 1.0)):
        distance = angle - opposite
        distance.sub_(torch.round(distance * (1 / 6)), alpha=6.0)
        share = distance.abs_().neg_().add_(2.0).clamp_(0.0, 1.0)
        torch.addcmul(value, share, chroma, value=-1.0, out=images[:, channel])
    return images


def solarize(images: Tensor) -> Tensor:
    """Invert what is at or above `SOLARIZE_THRESHOLD`."""
    return torch.where(images >= SOLARIZE_THRESHOLD, 1.0 - images, images)


def _wide(factor: Tensor) -> Tensor:
    return factor[:, None, None, None]
