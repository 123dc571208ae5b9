"""The supervised contrastive loss, whatever the labels are."""

from __future__ import annotations

import torch
from lightly.utils import dist
from torch import Tensor
from torch.nn import functional

from dsabench.gather import gather_rows


def supcon_loss(z: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """The mean over anchors z (N, P), labels (N,), of the loss `out`, (), with the rows of all processes.

    Every anchor needs another row of its class, as two views of an image give it. Source: arXiv 2004.11362, eq. 2.
    """
    z = functional.normalize(z, dim=1)
    others, other_labels = gather_rows(z), gather_rows(labels)
    rows = torch.arange(len(z), device=z.device)
    itself = torch.zeros(len(z), len(others), dtype=torch.bool, device=z.device)
    itself[rows, rows + dist.rank() * len(z)] = True
    logits = (z @ others.T / temperature).masked_fill(itself, -torch.inf)
    log_share = logits - logits.logsumexp(dim=1, keepdim=True)
    positives = (labels[:, None] == other_labels) & ~itself
    return -(log_share.where(positives, 0.0).sum(dim=1) / positives.sum(dim=1)).mean()
