"""One number over several data sets: the interquartile mean, and how probable an improvement is.

Agarwal et al. 2021 (arXiv 2108.13264), whose tasks are our data sets. Intervals resample the runs of each data set
apart from those of the others (a stratified bootstrap). Where seeds are paired, an improvement is of an arm over the
other with the same seed, and seeds are drawn for both alike. Draws are named, so they repeat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy import stats as distributions

from dsabench.rng import numpy_generator
from dsabench.stats.outcomes import ROUNDING

DRAWS = 2000

Floats: TypeAlias = np.ndarray[Any, Any]
# The value of every run, by data set.
Runs: TypeAlias = Sequence[Sequence[float] | Floats]


@dataclass(frozen=True)
class Estimate:
    """A `value` with its 95% interval, which is (-inf, inf) where a data set has a single run."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Record:
    """In how many pairs of runs of one data set and seed an arm was ahead of the other, level with it, and behind."""

    ahead: int
    level: int
    behind: int


def interquartile_mean(runs: Runs) -> float:
    """The mean of the middle half of all values, those of each data set (R,): a quarter is cut off at either end."""
    return float(distributions.trim_mean(np.concatenate([np.asarray(one, dtype=np.float64) for one in runs]), 0.25))


def improvement(ours: Runs, theirs: Runs) -> float:
    """P(ours > theirs) of two runs drawn from one data set, a tie counted half, as the mean over data sets (R,), (S,).

    In each it is Mann and Whitney's U over R S. Raises ValueError where the data sets are not as many.
    """
    pairs = zip(ours, theirs, strict=True)
    return float(np.mean([(1 + _signs(np.asarray(a)[:, None], np.asarray(b))).mean() / 2 for a, b in pairs]))


def paired_improvement(ours: Runs, theirs: Runs) -> float:
    """The share of seeds with ours > theirs, a tie counted half, as the mean over data sets (R,), seed by seed."""
    pairs = zip(ours, theirs, strict=True)
    return float(np.mean([(1 + _signs(np.asarray(a), np.asarray(b))).mean() / 2 for a, b in pairs]))


def record(ours: Runs, theirs: Runs) -> Record:
    """How the pairs of runs came out, in values of which the larger is better; (R,) of both arms, seed by seed."""
    signs = np.concatenate([_signs(np.asarray(a), np.asarray(b)) for a, b in zip(ours, theirs, strict=True)])
    return Record(*(int((signs == sign).sum()) for sign in (1, 0, -1)))


def interquartile_estimate(runs: Runs, *, draws: int = DRAWS, level: float = 0.95) -> Estimate:
    """`interquartile_mean` with the interval of a stratified bootstrap."""
    drawn = np.concatenate([values[index] for values, index in _drawn(runs, "iqm", draws)], axis=1)
    return _estimate(interquartile_mean(runs), distributions.trim_mean(drawn, 0.25, axis=1), runs, level)


def improvement_estimate(
    ours: Runs, theirs: Runs, *, paired: bool, draws: int = DRAWS, level: float = 0.95
) -> Estimate:
    """`paired_improvement`, or `improvement` where seeds are not `paired`, with the interval of a bootstrap."""
    total = np.zeros(draws)
    sides = zip(_drawn(ours, "improvement", draws), _drawn(theirs, "improvement against", draws), strict=True)
    for (a, first), (b, second) in sides:
        signs = _signs(a, b)[first] if paired else _signs(a[first][:, :, None], b[second][:, None, :])
        total += (1 + signs).reshape(draws, -1).mean(axis=1) / 2
    value = paired_improvement(ours, theirs) if paired else improvement(ours, theirs)
    return _estimate(value, total / len(ours), [*ours, *theirs], level)


def _drawn(runs: Runs, name: str, draws: int) -> list[tuple[Floats, Floats]]:
    """The values of each data set, and which of them every draw takes (B, R)."""
    generator = numpy_generator("bootstrap", name)
    values = [np.asarray(one, dtype=np.float64) for one in runs]
    return [(one, generator.integers(len(one), size=(draws, len(one)))) for one in values]


def _estimate(value: float, drawn: Floats, runs: Runs, level: float) -> Estimate:
    if min(map(len, runs)) < 2:
        return Estimate(value, -math.inf, math.inf)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))


def _signs(a: Floats, b: Floats) -> Floats:
    """1 where a is larger, -1 where b is, 0 where they are one number up to rounding."""
    signs: Floats = np.where(np.isclose(a, b, rtol=ROUNDING, atol=0), 0, np.sign(a - b))
    return signs
