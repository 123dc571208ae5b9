"""What the report takes from a comparison: the one place where its fields are read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsabench.report.table import Difference, Interval, Measure, Number, PValue
from dsabench.report.wording import label, unit_of

if TYPE_CHECKING:
    # SciPy comes with it, and a listing must not wait for that.
    from dsabench.stats import Comparison

ROLES = ("primary", "secondary", "descriptive")
# What a difference must exceed, absolutely and in parts of the means, to be more than rounding in float64.
_ROUNDING, _ROUNDING_OF_MEANS = 1e-12, 1e-9


@dataclass(frozen=True)
class Effect:
    """What one arm does to one metric of another, as numbers and words.

    `p` is the one that decides, adjusted where the metric is one of a family, and None where none decides. `closed` is
    the share of the gap to supervised training, `reachable` whether so many seeds can show anything, and `would_do` the
    fewest that could, None where no number does.
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
    would_do: int | None
    word: str


def effects(comparisons: Sequence[Comparison]) -> list[Effect]:
    """Comparisons as numbers and words; differences and ends of intervals at the size of rounding are none."""
    families = Counter((one.spec, one.against) for one in comparisons if one.role == "secondary")
    return [_effect(one, families[one.spec, one.against] if one.role == "secondary" else 1) for one in comparisons]


def _effect(comparison: Comparison, family: int) -> Effect:
    key, unit = comparison.key, unit_of(comparison.key.metric)
    size = max((abs(mean) for mean in (comparison.mean_against, comparison.mean) if math.isfinite(mean)), default=0.0)
    name = label(key.probe, key.params, key.metric)
    p = {"primary": comparison.p, "secondary": comparison.p_holm}.get(comparison.role)
    return Effect(
        spec=comparison.spec,
        against=comparison.against,
        role=comparison.role,
        layer=key.layer,
        measure=Measure(name, unit, comparison.higher_is_better),
        metric=f"{name} accuracy" if key.metric == "accuracy" else key.metric.replace("_", " "),
        n_seeds=comparison.n_seeds,
        before=Number(comparison.mean_against, unit),
        after=Number(comparison.mean, unit),
        difference=Difference(_settled(comparison.difference, size), unit, size),
        interval=Interval(_settled(comparison.low, size), _settled(comparison.high, size), unit, size),
        student=Interval(_settled(comparison.t_low, size), _settled(comparison.t_high, size), unit, size),
        p=None if p is None else PValue(p),
        closed=comparison.gap_closed,
        reachable=comparison.can_reach_05,
        would_do=_would_do(comparison.n_seeds, family),
        word=_word(comparison),
    )


def _settled(difference: float, size: float) -> float:
    return 0.0 if abs(difference) < max(_ROUNDING, _ROUNDING_OF_MEANS * size) else difference


def _word(comparison: Comparison) -> str:
    undecided = comparison.verdict in ("no difference shown", "insufficient evidence")
    if undecided or comparison.verdict.startswith("cannot reach"):
        return "not shown" if comparison.can_reach_05 else "too few"
    return comparison.verdict


def _would_do(n_seeds: int, family: int) -> int | None:
    """The fewest seeds above `n_seeds` that let one of `family` metrics reach .05 after Holm."""
    from dsabench.stats import smallest_p
    from dsabench.stats.paired import MAX_EXACT

    # Beyond MAX_EXACT + 1 seeds the least p stays as it is.
    counts = range(n_seeds + 1, max(n_seeds, MAX_EXACT) + 2)
    return next((count for count in counts if smallest_p(count) * family < 0.05), None)
