"""InfoNCE over the global batch."""

from __future__ import annotations

import torch
from lightly.utils import dist
from torch import Tensor
from torch.nn import functional

from dsabench.gather import gather_rows


def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Cross-entropy, (), of each query (B, P) for its own key (B, P) among the keys of the global batch, by cosine."""
    queries, keys = functional.normalize(queries, dim=1), functional.normalize(gather_rows(keys), dim=1)
    own = torch.arange(len(queries), device=queries.device) + dist.rank() * len(queries)
    return functional.cross_entropy(queries @ keys.T / temperature, own)
