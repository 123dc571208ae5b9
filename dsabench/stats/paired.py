"""Tests and intervals for paired differences, one a seed, and McNemar's test for paired images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy import stats as distributions

MAX_EXACT = 20
SAMPLED_FLIPS = 2**19
FLIP_SEED = 0
TIE_TOLERANCE = 1e-12
NORMAL_SAMPLES = 20_000
NORMAL_SEED = 0


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p that paired differences (n,) are symmetric about zero, by flipping their signs (Fisher 1935).

    All 2^n sign vectors are looked at through n = 20. Beyond, 2^19 vectors from a fixed seed, and p = (1 + b) / (1 + m)
    counts the observed one. Ties count as extreme, up to rounding. Raises ValueError for no or non-finite differences.
    """
    sums, _, rest, _ = _partitions(differences)
    return (1 + int((np.sign(sums) * np.sign(rest) <= 0).sum())) / (1 + len(sums))


def sign_flip_interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The shifts of paired differences (n,) that `sign_flip_p` does not reject at 1 - level: (low, high).

    Flipping the signs of one part of the seeds is at least as extreme as the data about a shift exactly when the shift
    lies between the means of the two parts, which enclose the mean of all. So p(shift) counts intervals, and the ends
    are order statistics of theirs: zero is left out exactly when p < 1 - level. (-inf, inf) where no p is that small,
    as for five seeds at 0.95. Raises ValueError as `sign_flip_p` does, and for a level outside (0, 1).
    """
    needed = _covers_needed(level, differences)
    sums, sizes, rest, rest_sizes = _partitions(differences)
    if needed == 0:
        return -math.inf, math.inf
    # A part of no seeds (sampled flips can draw one) bounds nothing: its flip ties with the data for every shift.
    proper = (sizes > 0) & (rest_sizes > 0)
    means = sums / np.maximum(sizes, 1), rest / np.maximum(rest_sizes, 1)
    lower = np.sort(np.where(proper, np.minimum(*means), -np.inf))
    upper = np.sort(np.where(proper, np.maximum(*means), np.inf))
    return float(lower[needed - 1]), float(upper[-needed])


def _covers_needed(level: float, differences: Sequence[float]) -> int:
    """How many flips beside the identity must be extreme for p to reach 1 - level."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level}")
    # 1 - 0.95 is a little more than 0.05 in floating point, which would matter where alpha / p is whole.
    alpha = round(1 - level, 12)
    return math.ceil(alpha / smallest_p(len(differences)) - 1e-9) - 1


def _partitions(differences: Sequence[float]) -> tuple[np.ndarray[Any, Any], ...]:
    """Sum and size of the two parts of every split of the seeds in two but {all, none}: four arrays (m,).

    A sum that is zero but for rounding is made zero, so that the test and the interval see the same ties.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"paired differences must be finite numbers, at least one; got {list(differences)}")
    if len(values) <= MAX_EXACT:
        # The first seed stays in the first part; the last partition built is the one with nothing taken out.
        sums, sizes, rest = np.zeros(1), np.ones(1), np.zeros(1)
        sums[0] = values[0]
        for value in values[1:]:
            sums = np.concatenate([sums, sums + value])
            rest = np.concatenate([rest + value, rest])
            sizes = np.concatenate([sizes, sizes + 1])
        sums, sizes, rest = sums[:-1], sizes[:-1], rest[:-1]
    else:
        generator = np.random.default_rng(FLIP_SEED)
        sums, sizes, rest = np.zeros(SAMPLED_FLIPS), np.zeros(SAMPLED_FLIPS), np.zeros(SAMPLED_FLIPS)
        for value in values:
            chosen = generator.random(SAMPLED_FLIPS) < 0.5
            sums += np.where(chosen, value, 0.0)
            rest += np.where(chosen, 0.0, value)
            sizes += chosen
    tolerance = TIE_TOLERANCE * np.abs(values).sum()
    sums, rest = (np.where(np.abs(part) <= tolerance, 0.0, part) for part in (sums, rest))
    return sums, sizes, rest, len(values) - sizes


def smallest_p(n_seeds: int) -> float:
    """The least p that `sign_flip_p` can give for so many seeds; raises ValueError for none."""
    if n_seeds < 1:
        raise ValueError(f"at least one seed is needed; got {n_seeds}")
    return 1 / 2 ** (n_seeds - 1) if n_seeds <= MAX_EXACT else 1 / (1 + SAMPLED_FLIPS)


def t_interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's interval for the mean of paired differences (n,): (low, high), infinite for one difference."""
    values = np.asarray(differences, dtype=np.float64)
    if len(values) == 1:
        return -math.inf, math.inf
    half = float(distributions.t.ppf((1 + level) / 2, len(values) - 1)) * float(values.std(ddof=1)) / len(values) ** 0.5
    return float(values.mean()) - half, float(values.mean()) + half


def skewed(differences: Sequence[float]) -> bool:
    """Whether differences (n,) lean further to one side than 95% of normal samples of their size do.

    The flips assume symmetry, and a leaning sample is a reason to doubt it; with few seeds one that does not lean is
    none to believe in it. Leaning is the size of the sample skewness m3 / m2^1.5. False below three differences.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 3 or np.ptp(values) <= TIE_TOLERANCE * np.abs(values).max():
        return False
    return bool(abs(distributions.skew(values)) > _normal_skewness(len(values)))


@cache
def _normal_skewness(n: int) -> float:
    """What the absolute skewness of 95% of normal samples of n stays below, simulated from a fixed seed."""
    samples = np.random.default_rng(NORMAL_SEED).standard_normal((NORMAL_SAMPLES, n))
    return float(np.quantile(np.abs(distributions.skew(samples, axis=1)), 0.95))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values (m,) adjusted by Holm's step-down (1979), in the order given; monotone in p and at most 1."""
    adjusted = [0.0] * len(p_values)
    reached = 0.0
    for step, position in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        reached = max(reached, min(1.0, (len(p_values) - step) * p_values[position]))
        adjusted[position] = reached
    return adjusted


def mcnemar(correct_a: Sequence[bool], correct_b: Sequence[bool]) -> float:
    """Two-sided exact binomial p of McNemar (1947) for two classifiers' hits (N,) on the same images.

    1 where they differ on none. Raises ValueError where the lengths differ.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"both classifiers must answer for the same images; got shapes {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(distributions.binomtest(only_a, only_a + only_b, 0.5).pvalue)
