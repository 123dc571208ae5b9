"""The verdict of a comparison: what the tests, the smallest effect that matters, the guards and the failures leave.

The primary metric is *better* where four things hold. Its exact p is below .05 after Holm over the pairs that share a
baseline. Its mean gained at least the smallest effect of interest, a share of the baseline's mean. Every guard held:
the lower end of the 95% interval of its gain, the one that inverts the exact test, lies above -margin, which is a test
of non-inferiority at .025; all guards must pass, so none needs a correction (an intersection-union test, Berger 1982).
And the arm failed no more often than the other. An arm that gains on the primary alone is *tighter, not better*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from dsabench.stats.comparison import Comparison, GuardCheck
from dsabench.stats.limits import MARGIN, SMALLEST_EFFECT
from dsabench.stats.outcomes import MetricKey
from dsabench.stats.paired import MAX_EXACT, holm, smallest_p

ALPHA = 0.05
# Five seeds cannot reach p < .05 in a two-sided sign-flip test.
ENOUGH_SEEDS = 6

BETTER, WORSE = "better", "worse"
TIGHTER = "tighter, not better"
TOO_SMALL = "better by less than matters"
FAILS_MORE = "not better, fails more often"
UNGUARDED = "not better, a guard was not measured"
SAME = "no difference"
NOT_SHOWN = "not shown"
UNDECIDED = "undecided, runs are missing"
TOO_FEW = "too few"
NO_SEEDS = "no seeds"


class Guard(NamedTuple):
    """A metric that must not pay for the primary one, and by how much it may fall; `key` None: not measured."""

    name: str
    key: MetricKey | None
    margin: float = MARGIN


def least_p(n_pairs: int, family: int) -> float:
    """The least p that so many pairs of runs can give each of `family` comparisons after Holm."""
    return min(1.0, smallest_p(n_pairs) * family)


def would_do(n_pairs: int, family: int) -> int | None:
    """The fewest pairs of runs above `n_pairs` that let each of `family` comparisons reach .05 after Holm, if any."""
    # Beyond MAX_EXACT + 1 pairs the least p stays as it is.
    counts = range(n_pairs + 1, max(n_pairs, MAX_EXACT) + 2)
    return next((count for count in counts if least_p(count, family) < ALPHA), None)


def largest_family(n_pairs: int) -> int:
    """How many comparisons can reach .05 together after Holm with so many pairs of runs; 0 where not even one can."""
    return math.ceil(ALPHA / smallest_p(n_pairs)) - 1


def judged(
    rows: Sequence[Comparison], *, guards: Sequence[Guard] = (), smallest_effect: float = SMALLEST_EFFECT
) -> list[Comparison]:
    """The rows of all pairs of one command, in order, with p adjusted in its family, guards and verdicts."""
    adjusted = _adjusted(rows)
    pairs: dict[tuple[str, str], dict[MetricKey, Comparison]] = {}
    for row in rows:
        pairs.setdefault((row.spec, row.against), {})[row.key] = row
    found = []
    for row in rows:
        pair = pairs[row.spec, row.against]
        p, size = adjusted.get((row.spec, row.against, row.key), (None, 0))
        if row.role == "primary":
            checks = tuple(_checked(guard, pair) for guard in guards)
            row = replace(row, p_pairs=p, guards=checks, smallest_effect=smallest_effect)
        elif row.role == "secondary":
            row = replace(row, p_holm=p)
        if row.role != "descriptive":
            row = replace(row, can_reach_05=p is not None and least_p(row.n_pairs, size) < ALPHA)
            # A run that collapsed under the primary metric may have a fine value of another one.
            failing = [row, *(one for one in pair.values() if one.role == "primary")]
            row = replace(row, verdict=_verdict(row, failing))
        found.append(row)
    return found


def _adjusted(rows: Sequence[Comparison]) -> dict[tuple[str, str, MetricKey], tuple[float, int]]:
    """Holm's p and the size of its family for every row of one: those of one pair, and nothing that one seed says."""
    families: dict[tuple[str, ...], list[Comparison]] = {}
    for row in rows:
        if row.role != "descriptive" and row.n_pairs >= 2:
            family = (row.against,) if row.role == "primary" else (row.against, row.spec)
            families.setdefault(family, []).append(row)
    return {
        (row.spec, row.against, row.key): (p, len(family))
        for family in families.values()
        for row, p in zip(family, holm([row.p for row in family]), strict=True)
    }


def _checked(guard: Guard, pair: Mapping[MetricKey, Comparison]) -> GuardCheck:
    """Whether a guard held, from the rows of its pair; not measured is also what too few pairs bound nothing of."""
    row = None if guard.key is None else pair.get(guard.key)
    if row is None or row.n_pairs < ENOUGH_SEEDS:
        return GuardCheck(guard.name, guard.margin, -math.inf, math.inf, None)
    low, high = (row.low, row.high) if row.higher_is_better else (-row.high, -row.low)
    return GuardCheck(guard.name, guard.margin, low, high, low > -guard.margin)


def _verdict(row: Comparison, failing: Sequence[Comparison]) -> str:
    """The verdict of a row; `failing` are those whose failures speak against its arm."""
    if row.n_pairs < ENOUGH_SEEDS:
        return TOO_FEW
    if row.low == row.high == 0:
        return SAME
    p = row.p_pairs if row.role == "primary" else row.p_holm
    if p is None or p >= ALPHA:
        if row.missing or row.missing_against:
            return UNDECIDED
        return NOT_SHOWN if row.can_reach_05 else TOO_FEW
    # The interval leaves zero out on one side, or touches it.
    if (row.low + row.high > 0) != row.higher_is_better:
        return WORSE
    if any(one.n_failed > one.n_failed_against for one in failing):
        return FAILS_MORE
    if any(one.n_failed + len(one.missing) > one.n_failed_against for one in failing):
        return UNDECIDED
    if row.smallest_effect is not None and abs(row.difference) < row.smallest_effect * abs(row.mean_against):
        return TOO_SMALL
    held = {guard.held for guard in row.guards}
    return UNGUARDED if None in held else TIGHTER if False in held else BETTER
