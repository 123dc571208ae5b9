"""What several methods share: a teacher's momentum, InfoNCE over the global batch."""

from __future__ import annotations

import math

import torch
from lightly.utils import dist
from torch import Tensor
from torch.nn import functional

from dsabench.shared import gather_rows


def cosine_momentum(start: float, end: float, progress: float) -> float:
    """A teacher's momentum when `progress` (in [0, 1]) of training is done: from `start` to `end` on half a cosine."""
    return end - (end - start) * (1.0 + math.cos(math.pi * progress)) / 2.0


def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Cross-entropy, (), of each query (B, P) for its own key (B, P) among the keys of the global batch, by cosine."""
    queries, keys = functional.normalize(queries, dim=1), functional.normalize(gather_rows(keys), dim=1)
    own = torch.arange(len(queries), device=queries.device) + dist.rank() * len(queries)
    return functional.cross_entropy(queries @ keys.T / temperature, own)
