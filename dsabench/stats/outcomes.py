"""What became of the runs of two arms, seed by seed: values, failures, and seeds that were never run."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from dsabench.stats.paired import sign_flip_interval, sign_flip_p
from dsabench.stats.signed_rank import lean, signed_rank_interval, signed_rank_p

# Two arms that compute the same in another order differ by less than this share of a value.
ROUNDING = 1e-9


class MetricKey(NamedTuple):
    """What a value measures, within one data set and split; `params` is canonical JSON."""

    layer: str
    probe: str
    params: str
    metric: str


Values: TypeAlias = Mapping[str, Mapping[int, Mapping[MetricKey, float]]]
Failures: TypeAlias = Mapping[str, Collection[int]]


@dataclass(frozen=True)
class Outcomes:
    """The pairs of one metric: `arm`, `against`, `differences` (n,) over the `seeds` that both have a finite value for;
    zeros where all of them are of the size of rounding.

    `worst`, `best` (m,) are the differences of every pair, n or more of them: a failed run lost by more than any
    number, infinitely, and where both failed the difference is 0. They differ for the seeds alone that are `missing`
    from either arm, of which nothing is known: `worst` has them go against the arm, `best` has them go its way.
    """

    seeds: list[int]
    arm: list[float]
    against: list[float]
    differences: list[float]
    worst: list[float]
    best: list[float]
    n_failed: int = 0
    n_failed_against: int = 0
    missing: tuple[int, ...] = ()
    missing_against: tuple[int, ...] = ()

    @property
    def n_pairs(self) -> int:
        """How many pairs have an outcome, a failure included."""
        return len(self.worst) - len({*self.missing, *self.missing_against})

    @property
    def by_ranks(self) -> bool:
        """Whether some pair has no number for a difference, so that ranks must do."""
        return len(self.differences) < len(self.worst)

    def test(self) -> tuple[float, float, float]:
        """(p, low, high): sign flips of the differences, or of their ranks where a run failed or is missing.

        With missing runs, p is the largest and the interval the widest that they could have led to: a signed rank sum
        grows with every difference, so `worst` and `best` are its ends, and where these lie on two sides p is 1.
        """
        if not self.by_ranks:
            return sign_flip_p(self.differences), *sign_flip_interval(self.differences)
        ends = (self.worst,) if self.worst == self.best else (self.worst, self.best)
        lows, highs = zip(*map(signed_rank_interval, ends), strict=True)
        p = max(map(signed_rank_p, ends)) if lean(self.worst) * lean(self.best) > 0 else 1.0
        return p, min(lows), max(highs)


def outcomes(
    values: Values,
    pair: tuple[str, str],
    key: MetricKey,
    *,
    higher_is_better: bool | None,
    failures: Failures,
    seeds: Iterable[int] | None,
) -> Outcomes | None:
    """The outcomes of a metric for (arm, against) over `seeds`; None where no pair has one.

    A run failed where `failures` has its seed or its value is not finite. Without `seeds`, they are those that either
    arm has a value or a failure for. A metric without a better direction has no worst outcome, and finite pairs alone.
    """
    ours, theirs = (_ended(values.get(spec, {}), key, failures.get(spec, ())) for spec in pair)
    asked = sorted(set(ours.keys() | theirs.keys() if seeds is None else seeds))
    finite = [seed for seed in asked if math.isfinite(ours.get(seed, math.nan) + theirs.get(seed, math.nan))]
    arm, against = [ours[seed] for seed in finite], [theirs[seed] for seed in finite]
    differences = [a - b for a, b in zip(arm, against, strict=True)]
    if all(math.isclose(a, b, rel_tol=ROUNDING) for a, b in zip(arm, against, strict=True)):
        differences = [0.0] * len(finite)
    if higher_is_better is None:
        return Outcomes(finite, arm, against, differences, differences, differences) if finite else None
    if not any(seed in ours and seed in theirs for seed in asked):
        return None
    lost = -math.inf if higher_is_better else math.inf

    def difference(seed: int, unknown: float, unknown_against: float) -> float:
        a, b = ours.get(seed, unknown), theirs.get(seed, unknown_against)
        return _difference(*(lost if math.isnan(value) else value for value in (a, b)))

    return Outcomes(
        finite,
        arm,
        against,
        differences,
        worst=[difference(seed, lost, -lost) for seed in asked],
        best=[difference(seed, -lost, lost) for seed in asked],
        n_failed=sum(math.isnan(ours.get(seed, lost)) for seed in asked),
        n_failed_against=sum(math.isnan(theirs.get(seed, lost)) for seed in asked),
        missing=tuple(seed for seed in asked if seed not in ours),
        missing_against=tuple(seed for seed in asked if seed not in theirs),
    )


def _ended(runs: Mapping[int, Mapping[MetricKey, float]], key: MetricKey, failed: Collection[int]) -> dict[int, float]:
    """The value of every run that ended, nan for one that failed."""
    found = {seed: metrics[key] for seed, metrics in runs.items() if key in metrics}
    return dict.fromkeys(failed, math.nan) | {
        seed: value if math.isfinite(value) else math.nan for seed, value in found.items() if seed not in failed
    }


def _difference(a: float, b: float) -> float:
    """a - b, and nothing where the two are one number or one failure up to rounding."""
    return 0.0 if a == b or math.isclose(a, b, rel_tol=ROUNDING) else a - b
