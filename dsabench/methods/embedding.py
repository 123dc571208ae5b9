"""The forward pass that two-view methods share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dsabench.types import LabelledViews, Views, widened


class Embedded(NamedTuple):
    """Features `h1`, `h2` (B, D) and embeddings `z1`, `z2` (B, P) of two views, in float32 at least."""

    h1: Tensor
    h2: Tensor
    z1: Tensor
    z2: Tensor


def embed(backbone: nn.Module, projector: nn.Module, views: Views | LabelledViews) -> Embedded:
    """Both views in one forward pass: half the kernel launches, and batch norm sees 2B images.

    Autocast, where it is on, ends here: what follows is a loss, and losses are computed in float32 at least.
    """
    h = backbone(torch.cat([views.view1, views.view2]))
    h1, h2 = widened(h).chunk(2)
    z = projector(torch.cat([h1, h2]))
    z1, z2 = widened(z).chunk(2)
    return Embedded(h1, h2, z1, z2)


def full_precision(like: Tensor) -> torch.autocast:
    """A context in which autocast is off on the device of `like`."""
    return torch.autocast(like.device.type, enabled=False)
