"""What the report takes from a comparison: the one place where its fields are read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsabench.config.spec import parse_part
from dsabench.evaluators import CROWDING
from dsabench.files import canonical_json
from dsabench.metrics import METRICS
from dsabench.report.table import Difference, Interval, Measure, Number, PValue
from dsabench.report.wording import label, unit_of

if TYPE_CHECKING:
    # SciPy comes with it, and a listing must not wait for that.
    from dsabench.stats import Comparison, GuardCheck

ROLES = ("primary", "secondary", "descriptive")


@dataclass(frozen=True)
class Guarded:
    """What became of a guard: `gain` is positive where it got better, `held` None where too few seeds measured it."""

    label: str
    gain: Interval
    margin: float
    held: bool | None


@dataclass(frozen=True)
class Gap:
    """The share of the gap to the arm `ceiling` that was closed, its 95% interval None where there is none."""

    share: float
    interval: tuple[float, float] | None
    ceiling: str


@dataclass(frozen=True)
class Effect:
    """What one arm does to one metric of another, as numbers and words.

    Means and difference are over the `n_seeds` that both arms have a value for, None where there is no such seed;
    interval and p by the `test` are over `n_pairs`, failed runs among them. `p` is the one that decides, None where
    none does: adjusted for the `family` of so many primary metrics against one baseline, or secondary ones of a pair;
    `alone` is p before that.
    `reachable` is whether so many pairs can show anything, and `would_do` the fewest that could, None where no number
    does. `images` is the interval over seeds and test images. `word` is the verdict.
    """

    spec: str
    against: str
    role: str
    layer: str
    measure: Measure
    metric: str
    n_seeds: int
    n_pairs: int
    before: Number | None
    after: Number | None
    difference: Difference | None
    interval: Interval
    student: Interval
    images: Interval | None
    test: str
    p: PValue | None
    alone: PValue
    family: int
    reachable: bool
    would_do: int | None
    gap: Gap | None
    skewed: bool
    shortfalls: tuple[str, ...]
    guards: tuple[Guarded, ...]
    smallest_effect: float | None
    word: str


def effects(comparisons: Sequence[Comparison]) -> list[Effect]:
    """All comparisons of one command as numbers and words."""
    # SciPy comes with it.
    from dsabench.stats.verdict import NO_SEEDS

    adjusted = Counter(_family(one) for one in comparisons if _adjusted(one) is not None)
    # More seeds would bring those into it, too, that have one so far.
    whole = Counter(_family(one) for one in comparisons if one.verdict != NO_SEEDS)
    return [_effect(one, adjusted[_family(one)], whole[_family(one)]) for one in comparisons]


def _adjusted(comparison: Comparison) -> float | None:
    return {"primary": comparison.p_pairs, "secondary": comparison.p_holm}.get(comparison.role)


def _family(comparison: Comparison) -> tuple[str, ...]:
    """What Holm's adjustment knows a family by; see `dsabench.stats.verdict`."""
    pair = (comparison.role, comparison.against, comparison.spec)
    return pair[:2] if comparison.role == "primary" else pair


def _effect(comparison: Comparison, family: int, whole_family: int) -> Effect:
    # SciPy comes with it.
    from dsabench.stats.verdict import NO_SEEDS, would_do

    key, unit = comparison.key, unit_of(comparison.key.metric)
    size = max((abs(mean) for mean in (comparison.mean_against, comparison.mean) if math.isfinite(mean)), default=0.0)
    name = label(key.probe, key.params, key.metric)
    p = _adjusted(comparison)
    if p is None and comparison.role == "primary":
        # Nothing is adjusted for one seed, whose p is 1 anyway.
        p = comparison.p
    compared = comparison.n_seeds > 0

    def interval(low: float, high: float) -> Interval:
        return Interval(low, high, unit, size)

    images = None
    if comparison.images_low is not None and comparison.images_high is not None:
        images = interval(comparison.images_low, comparison.images_high)
    return Effect(
        spec=comparison.spec,
        against=comparison.against,
        role=comparison.role,
        layer=key.layer,
        measure=Measure(name, unit, comparison.higher_is_better),
        metric=f"{name} accuracy" if key.metric == "accuracy" else key.metric.replace("_", " "),
        n_seeds=comparison.n_seeds,
        n_pairs=comparison.n_pairs,
        before=Number(comparison.mean_against, unit) if compared else None,
        after=Number(comparison.mean, unit) if compared else None,
        difference=Difference(comparison.difference, unit, size) if compared else None,
        interval=interval(comparison.low, comparison.high),
        student=interval(comparison.t_low, comparison.t_high),
        images=images,
        test=comparison.test,
        p=None if p is None else PValue(p),
        alone=PValue(comparison.p),
        family=family,
        reachable=comparison.can_reach_05,
        would_do=None if comparison.verdict == NO_SEEDS else would_do(comparison.n_pairs, whole_family),
        gap=_gap(comparison),
        skewed=comparison.skewed,
        shortfalls=tuple(comparison.shortfalls()),
        guards=tuple(map(_guarded, comparison.guards)),
        smallest_effect=comparison.smallest_effect,
        word=comparison.verdict,
    )


def _gap(comparison: Comparison) -> Gap | None:
    if comparison.gap_closed is None or comparison.ceiling is None:
        return None
    low, high = comparison.gap_low, comparison.gap_high
    return Gap(comparison.gap_closed, None if low is None or high is None else (low, high), comparison.ceiling)


def _guarded(check: GuardCheck) -> Guarded:
    """A guard under the name that tables have for its metric: `5-shot (centroid)`."""
    part = parse_part(check.name)
    probe, metric = (CROWDING, part.name) if part.name in METRICS else (part.name, "accuracy")
    size = max(abs(end) for end in (check.low, check.high, check.margin) if math.isfinite(end))
    gain = Interval(check.low, check.high, unit_of(metric), size)
    return Guarded(label(probe, canonical_json(part.options), metric), gain, check.margin, check.held)
