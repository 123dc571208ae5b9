"""The rows of a batch that is spread over several processes."""

from __future__ import annotations

import torch
from lightly.utils import dist
from torch import Tensor


def gather_rows(x: Tensor) -> Tensor:
    """The rows of all processes in rank order, with their gradients; `x` itself where there is one process."""
    return torch.cat(dist.gather(x)) if dist.world_size() > 1 else x
