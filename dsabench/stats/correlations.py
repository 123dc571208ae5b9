"""Rank correlations between measures of many runs, over all of them and within their specs, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsabench.rng import numpy_generator

DRAWS = 1000
FEWEST_RUNS = 3

Floats = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho over `n` runs of `groups` specs with a 95% interval; nan where it is not defined."""

    rho: float
    low: float
    high: float
    n: int
    groups: int


def over_specs(x: Sequence[float], y: Sequence[float], specs: Sequence[str]) -> RankCorrelation:
    """Spearman's rank correlation over all runs.

    The interval resamples specs with all their runs, for runs of one spec are alike; percentiles of 1,000 draws.
    """
    a, b, codes = _numbered(x, y, specs)
    groups = len(np.unique(codes))
    draws = numpy_generator("correlations", "specs")
    counts = draws.multinomial(groups, np.full(groups, 1 / groups), size=DRAWS) if groups else np.zeros((DRAWS, 0))
    return _of([(a, b, counts[:, codes])], groups)


def within_specs(x: Sequence[float], y: Sequence[float], specs: Sequence[str]) -> RankCorrelation:
    """Spearman's rank correlation within specs: of ranks among the runs of a spec, centred there, pooled over specs.

    Specs with fewer than three runs say nothing and are left out. The interval resamples runs within their specs.
    """
    a, b, codes = _numbered(x, y, specs)
    draws = numpy_generator("correlations", "runs")
    parts = []
    for code in np.unique(codes):
        at = codes == code
        size = int(at.sum())
        if size >= FEWEST_RUNS:
            parts.append((a[at], b[at], draws.multinomial(size, np.full(size, 1 / size), size=DRAWS)))
    return _of(parts, len(parts))


def _of(parts: Sequence[tuple[Floats, Floats, Floats]], groups: int) -> RankCorrelation:
    """The correlation of ranks that are taken within each part, and its interval over draws that count runs (B, n)."""
    n = sum(len(a) for a, _, _ in parts)
    if not n:
        return RankCorrelation(math.nan, math.nan, math.nan, 0, 0)
    estimate = _correlated([(a, b, np.ones((1, len(a)))) for a, b, _ in parts])[0]
    found = _correlated(parts)
    found = found[~np.isnan(found)]
    low, high = np.quantile(found, (0.025, 0.975)).tolist() if len(found) else (math.nan, math.nan)
    return RankCorrelation(float(estimate), low, high, n, groups)


def _correlated(parts: Sequence[tuple[Floats, Floats, Floats]]) -> Floats:
    """Pearson's correlation (B,) of centred ranks, where runs count as often as their weights (B, n) say."""
    products, squares, others = 0.0, 0.0, 0.0
    for a, b, weights in parts:
        u, v = _ranks(a, weights), _ranks(b, weights)
        products = products + (weights * u * v).sum(axis=1)
        squares = squares + (weights * u * u).sum(axis=1)
        others = others + (weights * v * v).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.divide(products, np.sqrt(np.multiply(squares, others)))
    return found


def _ranks(values: Floats, weights: Floats) -> Floats:
    """Mid-ranks (B, n) of values (n,) that count `weights` (B, n) times, less their mean."""
    _, place = np.unique(values, return_inverse=True)
    levels = np.zeros((len(weights), int(place.max()) + 1))
    np.add.at(levels.T, place, weights.T)
    middle: Floats = (levels.cumsum(axis=1) - levels / 2)[:, place]
    centred: Floats = middle - (weights * middle).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
    return centred


def _numbered(x: Sequence[float], y: Sequence[float], specs: Sequence[str]) -> tuple[Floats, Floats, Floats]:
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if not a.shape == b.shape == (len(specs),):
        raise ValueError(f"one value a run is needed on both sides; got {a.shape}, {b.shape} and {len(specs)} specs")
    # An infinite CDNV has a rank; what is not a number has none.
    known = ~(np.isnan(a) | np.isnan(b))
    return a[known], b[known], np.unique(np.asarray(specs)[known], return_inverse=True)[1]
