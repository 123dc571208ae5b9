"""The bounds of the theory: on mixtures whose two sides are known, on adversarial ones, and against loops."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from dsabench.metrics import cdnv, directional_cdnv
from dsabench.metrics.bounds import (
    BENNETT,
    Bound,
    centre_bound,
    contrastive_bound,
    directional_bound,
    few_shot_bound,
    geometry,
)


def mixture(seed: int, classes: int, n: int, dim: int, spread: float) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    means = torch.randn(classes, dim, generator=draw, dtype=torch.float64)
    y = torch.arange(classes).repeat_interleave(n)[torch.randperm(classes * n, generator=draw)]
    shape = torch.rand(classes, dim, generator=draw, dtype=torch.float64) * 2
    return means[y] + spread * shape[y] * torch.randn(len(y), dim, generator=draw, dtype=torch.float64), y


def unit(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True)


def draws(y: Tensor, shots: int, count: int) -> Tensor:
    made = torch.Generator().manual_seed(0)
    where = [(y == c).nonzero().squeeze(1) for c in torch.unique(y)]
    one = [at[torch.randint(len(at), (count, shots), generator=made)] for at in where]
    return torch.stack(one, dim=1)


@pytest.mark.parametrize("sigma", [0.1, 0.25, 0.5, 1.0])
def test_two_gaussians_of_known_risk(sigma: float) -> None:
    # Means 1 apart, round: the risk is that of a normal variable beyond half the distance, CDNV is D sigma^2.
    draw, dim, n = np.random.default_rng(0), 6, 60_000
    y = torch.arange(2 * n) % 2
    x = torch.from_numpy(sigma * draw.normal(size=(2 * n, dim)))
    x[:, 0] += y
    risk, v = norm.cdf(-0.5 / sigma), sigma**2
    found = {"centre": centre_bound(x, y), "directional": directional_bound(x, y)}
    for bound in found.values():
        assert bound.risk == pytest.approx(risk, abs=0.004)
        assert bound.risk <= bound.upper
        assert bound.between == pytest.approx(1, rel=0.02)
    assert found["centre"].within == pytest.approx(dim * v, rel=0.02)
    assert found["centre"].upper == pytest.approx(4 * dim * v, rel=0.05)
    assert found["directional"].within == pytest.approx(v, rel=0.05)
    assert found["directional"].upper == pytest.approx(4 * v / (1 + 4 * v), rel=0.05)


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.6])
def test_few_shots_of_two_gaussians(sigma: float, shots: int) -> None:
    draw, dim, n = np.random.default_rng(1), 8, 1500
    y = torch.arange(2 * n) % 2
    x = torch.from_numpy(sigma * draw.normal(size=(2 * n, dim)))
    x[:, 0] += y
    found = few_shot_bound(x, y, shots=shots, draws=draws(y, shots, 40))
    v = sigma**2
    # Of the known moments: m = 1, and the third moment of a normal variable is none.
    square = 2 * dim * v**2 / shots**2
    s = 4 * v + 8 * dim * v**2 / shots + square + (2 * math.sqrt(v / shots) + math.sqrt(square)) ** 2
    assert found.upper == pytest.approx(s / (s + 1), rel=0.06)
    assert found.risk <= found.upper + 0.01
    many = few_shot_bound(x, y, shots=10**9, draws=draws(y, 1, 1))
    assert many.upper == pytest.approx(directional_bound(x, y).upper, rel=1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_every_bound_holds_on_every_mixture(seed: int) -> None:
    x, y = mixture(seed, 2 + seed % 5, 40, 3 + seed, [0.02, 0.3, 1.5][seed % 3])
    x = unit(x)
    partner = unit(x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype))
    found: list[Bound] = [centre_bound(x, y), directional_bound(x, y), contrastive_bound(x, partner, y)]
    for bound in found:
        assert bound.lower - 1e-12 <= bound.risk <= bound.upper + 1e-12
        assert bound.slack >= -1e-12
    assert found[1].upper <= found[0].upper + 1e-12
    few = few_shot_bound(x, y, shots=2, draws=draws(y, 2, 100))
    assert few.risk <= few.upper + 0.02


def test_the_worst_case_of_cantelli_is_met() -> None:
    # Class 0 has a share p just beyond the border: no bound from two moments along the line can be smaller.
    p, beyond = 0.2, 0.5 + 1e-9
    low = -p * beyond / (1 - p)
    first = torch.tensor([beyond] * 20 + [low] * 80, dtype=torch.float64)
    x = torch.cat([first, torch.ones(100, dtype=torch.float64)])[:, None]
    y = torch.arange(2).repeat_interleave(100)
    found = directional_bound(x, y)
    assert found.risk == pytest.approx(p / 2)
    assert found.upper == pytest.approx(p / 2)


def test_terms_are_those_of_the_metrics() -> None:
    x, y = mixture(3, 4, 30, 5, 0.4)
    x = unit(x)
    assert centre_bound(x, y).upper == pytest.approx(4 * 3 * cdnv(x, y))
    moments = geometry(x, y)
    assert float(moments.off_diagonal(moments.along).mean()) == pytest.approx(directional_cdnv(x, y))


def test_the_contrastive_terms_are_as_written() -> None:
    x, y = mixture(5, 3, 7, 4, 0.5)
    y = torch.where(torch.arange(len(y)) < 3, torch.zeros_like(y), y)
    x = unit(x)
    partner = unit(x + 0.2)
    found = contrastive_bound(x, partner, y)
    f, g, labels = (torch.cat(pair).numpy() for pair in ((x, partner), (partner, x), (y, y)))
    mu = [f[labels == c].mean(axis=0) for c in range(3)]
    share = [1 / (3 * (labels == c).sum()) for c in labels]
    objective = risk = 0.0
    for i in range(len(f)):
        negatives = sum(share[j] * math.exp(f[i] @ f[j]) for j in range(len(f)))
        objective += share[i] * (math.log(negatives) - f[i] @ g[i])
        risk -= share[i] * math.log(math.exp(f[i] @ mu[labels[i]]) / sum(math.exp(f[i] @ m) for m in mu))
    variances = [np.mean(np.sum((f[labels == c] - mu[c]) ** 2, axis=1)) for c in range(3)]
    assert found.between == pytest.approx(objective + math.log(3))
    assert found.risk == pytest.approx(risk)
    assert found.within == pytest.approx(math.sqrt(np.mean(variances)))
    assert found.upper == pytest.approx(found.between + found.within)
    assert found.lower == pytest.approx(found.between - found.within - BENNETT * max(variances))


def test_what_has_no_bound_is_refused() -> None:
    x = torch.ones(4, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="at least 2 classes"):
        centre_bound(x, torch.zeros(4, dtype=torch.int64))
    x[0, 0] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        directional_bound(x, torch.arange(4) % 2)
