"""What the report takes from a comparison: the one place where its fields are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsabench.report.table import Difference, Interval, Measure, Number, PValue
from dsabench.report.wording import label, unit_of

if TYPE_CHECKING:
    # SciPy comes with it, and a listing must not wait for that.
    from dsabench.stats import Comparison

ROLES = ("primary", "secondary", "descriptive")


@dataclass(frozen=True)
class Outcome:
    """One metric of one arm against another, as it is told.

    `p` is the one that decides (adjusted where the metric is one of a family), `judged` whether there is one;
    `closed` the share of the gap to supervised training; `word` the verdict.
    """

    spec: str
    against: str
    role: str
    layer: str
    measure: Measure
    metric: str
    n_seeds: int
    before: Number
    after: Number
    difference: Difference
    interval: Interval
    student: Interval
    p: PValue | None
    closed: float | None
    reachable: bool
    verdict: str
    word: str


def outcome(comparison: Comparison) -> Outcome:
    """A comparison as it is told."""
    key, unit = comparison.key, unit_of(comparison.key.metric)
    size = max(abs(comparison.mean_against), abs(comparison.mean))
    name = label(key.probe, key.params, key.metric)
    p = {"primary": comparison.p, "secondary": comparison.p_holm}.get(comparison.role)
    return Outcome(
        spec=comparison.spec,
        against=comparison.against,
        role=comparison.role,
        layer=key.layer,
        measure=Measure(name, unit, comparison.higher_is_better),
        metric=f"{name} accuracy" if key.metric == "accuracy" else key.metric.replace("_", " "),
        n_seeds=comparison.n_seeds,
        before=Number(comparison.mean_against, unit, size),
        after=Number(comparison.mean, unit, size),
        difference=Difference(comparison.difference, unit, size),
        interval=Interval(comparison.low, comparison.high, unit, size),
        student=Interval(comparison.t_low, comparison.t_high, unit, size),
        p=None if p is None else PValue(p),
        closed=comparison.gap_closed,
        reachable=comparison.can_reach_05,
        verdict=comparison.verdict,
        word=_word(comparison),
    )


def outcomes(comparisons: Sequence[Comparison]) -> list[Outcome]:
    """Comparisons as they are told, in their order."""
    return [outcome(comparison) for comparison in comparisons]


def _word(comparison: Comparison) -> str:
    if comparison.role == "descriptive" or comparison.verdict in ("better", "worse"):
        return comparison.verdict
    return "not shown" if comparison.can_reach_05 else "too few"
