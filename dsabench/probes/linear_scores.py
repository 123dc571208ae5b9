"""What the linear probe's fit says beside its accuracy: how sure it is, and how like a nearest class mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dsabench.probes.base import numbered
from dsabench.probes.linear import fit_linear
from dsabench.types import Features, ProbeResult, Score

BINS = 15
BLOCK_ROWS = 8192


def calibration(train: Features, val: Features, test: Features, *, seed: int) -> ProbeResult:
    """Expected calibration error (`ece`, 15 bins) and mean negative log-likelihood (`nll`) of the fit of `linear`.

    With p the largest probability of an image, bins of equal width ((b - 1) / 15, b / 15] and N images, ECE = sum_b
    |(correct in b) - (sum of p in b)| / N: Guo et al. 2017, arXiv 1706.04599, equation 3; NLL = -mean log p(class).
    Lower is better for both; the cost is that of `linear`, O(N D C) an iteration. `seed` is not used; raises
    ValueError as `linear` does.
    """
    train, val, test = numbered(train, val=val, test=test)
    logits = fit_linear(train, val, test).logits
    nll = float(cross_entropy(logits, test.y))
    return ProbeResult([Score("ece", _ece(logits, test.y), {"bins": BINS}, False), Score("nll", nll, {}, False)])


def _ece(logits: Tensor, y: Tensor) -> float:
    sure, predicted = logits.softmax(dim=1).max(dim=1)
    within = (sure * BINS).ceil().long().clamp(1, BINS) - 1
    excess = torch.zeros(BINS, dtype=torch.float64).index_add_(0, within, (predicted == y).double() - sure)
    return float(excess.abs().sum() / len(y))


def nc4(train: Features, val: Features, test: Features, *, seed: int) -> ProbeResult:
    """Share of test images for which the nearest class mean of the training features is the class `linear` says.

    mean_i [argmax_c w_c . x_i + b_c = argmin_c ||x_i - mu_c||], in Euclidean distance on raw features: Papyan et al.
    2020, arXiv 2008.08186, NC4. Between 0 and 1, higher is nearer to collapse; the cost is that of `linear`, O(N D C)
    an iteration. `seed` is not used; raises ValueError as `linear` does.
    """
    train, val, test = numbered(train, val=val, test=test)
    said = fit_linear(train, val, test).logits.argmax(dim=1)
    # About the mean, so that features far from the origin keep their digits; by blocks, for there may be many.
    centre = torch.stack([part.double().sum(dim=0) for part in torch.split(train.x, BLOCK_ROWS)]).sum(dim=0)
    centre /= len(train.x)
    counts = torch.bincount(train.y)
    means = torch.zeros(len(counts), len(centre), dtype=torch.float64)
    for part, codes in zip(torch.split(train.x, BLOCK_ROWS), torch.split(train.y, BLOCK_ROWS), strict=True):
        means.index_add_(0, codes, part.double() - centre)
    means /= counts[:, None]
    half = -means.square().sum(dim=1) / 2
    nearest = [
        torch.addmm(half, part.double() - centre, means.T).argmax(dim=1) for part in torch.split(test.x, BLOCK_ROWS)
    ]
    agreed = said == torch.cat(nearest)
    return ProbeResult([Score("nc4", float(agreed.double().mean()), {}, True)])
