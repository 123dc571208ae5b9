"""Signed ranks of paired differences that may be infinite: a failed run has no number, but it has a place, the last."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats as distributions


def signed_rank_p(differences: Sequence[float]) -> float:
    """Two-sided p that paired differences (n,) are symmetric about zero, by flipping the signs of their ranks.

    Wilcoxon's test (1945) with its exact distribution given the ties. -inf and inf are the largest differences there
    are and tie with each other, so that a failed run is the worst outcome of its arm whatever the scale. Zeros keep
    their rank and have no sign (Pratt 1959). Raises ValueError for no differences and for nan.
    """
    values = _checked(differences)
    ranks = _doubled_ranks(values)
    total = int(ranks[values != 0].sum())
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for rank in ranks[values != 0]:
        raised = np.zeros_like(chances)
        raised[rank:] = chances[: len(chances) - rank]
        chances = (chances + raised) / 2
    observed = abs(lean(differences))
    return min(1.0, float(chances[np.abs(2 * np.arange(total + 1) - total) >= observed].sum()))


def lean(differences: Sequence[float]) -> int:
    """Twice the sum of the signed ranks of differences (n,): positive where they lie above zero."""
    values = _checked(differences)
    return int((np.sign(values) * _doubled_ranks(values)).sum())


def signed_rank_interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The shifts of paired differences (n,) that `signed_rank_p` does not reject at 1 - level: (low, high).

    An end is infinite where failures leave it open; both are, with one sign, where every finite shift is rejected. p
    changes at the means of two finite differences alone; such an end belongs to the interval, even where its own ties
    would have it rejected. Raises ValueError as `signed_rank_p` does.
    """
    values = _checked(differences)
    finite = values[np.isfinite(values)]
    pairs = itertools.combinations_with_replacement(finite.tolist(), 2)
    steps = sorted({(one + other) / 2 for one, other in pairs})
    # The steps, and between and beyond them one shift of each stretch: (what is tried, where its stretch begins, ends).
    borders = [-math.inf, *steps, math.inf]
    tried = [(step, step, step) for step in steps]
    tried += [(_within(low, high), low, high) for low, high in itertools.pairwise(borders)]
    alpha = round(1 - level, 12)
    kept = [(low, high) for shift, low, high in tried if signed_rank_p((values - shift).tolist()) >= alpha]
    if not kept:
        end = math.copysign(math.inf, lean(differences))
        return end, end
    return min(low for low, _ in kept), max(high for _, high in kept)


def _doubled_ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    # Midranks of ties are halves, and whole numbers can be counted.
    doubled: np.ndarray[Any, Any] = np.rint(2 * distributions.rankdata(np.abs(values))).astype(np.int64)
    return doubled


def _within(low: float, high: float) -> float:
    """A shift between two borders."""
    if math.isinf(low) and math.isinf(high):
        return 0.0
    if math.isinf(low):
        return high - 1 - abs(high)
    return low + 1 + abs(low) if math.isinf(high) else (low + high) / 2


def _checked(differences: Sequence[float]) -> np.ndarray[Any, Any]:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or np.isnan(values).any():
        raise ValueError(f"paired differences must be numbers, at least one; got {list(differences)}")
    return values
