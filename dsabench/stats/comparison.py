"""From values per arm, seed and metric to one row per pair of arms and metric, with a verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np

from dsabench.errors import UsageError
from dsabench.stats.paired import holm, sign_flip_interval, sign_flip_p, smallest_p, t_interval

ALPHA = 0.05
# Five seeds cannot reach p < .05 in a two-sided sign-flip test.
ENOUGH_SEEDS = 6


class MetricKey(NamedTuple):
    """What a value measures, within one data set and split; `params` is canonical JSON."""

    layer: str
    probe: str
    params: str
    metric: str


@dataclass(frozen=True)
class Comparison:
    """One metric of one arm against another over the seeds that both have.

    `difference` is mean(arm - against). `low`, `high` invert the exact sign-flip test whose two-sided p is `p`;
    `t_low`, `t_high` are Student's interval. `p_holm` is set for secondary metrics alone, `gap_closed` where a
    supervised arm is at hand. `role` is `primary`, `secondary` or `descriptive` (neither direction is better).
    """

    spec: str
    against: str
    key: MetricKey
    role: str
    higher_is_better: bool | None
    n_seeds: int
    mean_against: float
    std_against: float
    mean: float
    std: float
    difference: float
    low: float
    high: float
    t_low: float
    t_high: float
    p: float
    p_holm: float | None
    can_reach_05: bool
    gap_closed: float | None
    verdict: str


Values: TypeAlias = Mapping[str, Mapping[int, Mapping[MetricKey, float]]]


def summarise(
    values: Values,
    *,
    pairs: Sequence[tuple[str, str]],
    primary: MetricKey,
    directions: Mapping[MetricKey, bool | None],
    supervised: str | None = None,
) -> list[Comparison]:
    """Compare each (spec, against) of `pairs` on every metric that both have, from `values[spec][seed][key]`.

    Seeds are those where both arms have a finite value of the metric; a metric without one gives no row. The primary
    metric comes first and is judged by its own p; the others that have a direction are judged by Holm within their
    pair; those with none are described. `gap_closed` is set for metrics with a direction, where `against` is the same
    method under another regularizer and `supervised` is a third arm. Raises UsageError where the primary metric has no
    better direction, and KeyError for an arm or a metric that `values` or `directions` lack.
    """
    if directions[primary] is None:
        raise UsageError(
            f"the primary metric {primary.metric!r} ({primary.layer}, {primary.probe}) has no better direction, so it "
            "can carry no verdict; choose one that has, see: dsabench list metrics"
        )
    comparisons: list[Comparison] = []
    for spec, against in pairs:
        seen = [key for arm in (spec, against) for metrics in values[arm].values() for key in metrics]
        keys = sorted(dict.fromkeys(seen), key=lambda key: key != primary)
        ceiling = supervised if base_method(spec) == base_method(against) else None
        rows = [_compare(values, spec, against, key, primary, directions[key], ceiling) for key in keys]
        comparisons += _judged([row for row in rows if row is not None])
    return comparisons


def base_method(spec: str) -> str:
    """The method's half of a spec, options included: `byol[momentum=0.9]` of `byol[momentum=0.9]+dsa`."""
    # A value in brackets may hold a plus (1e+3), which ends nothing.
    return re.split(r"\+(?![^\[\]]*\])", spec, maxsplit=1)[0]


def gap_closed(method: Sequence[float], regularized: Sequence[float], supervised: Sequence[float]) -> float | None:
    """The share of the distance from `method` to `supervised` that `regularized` covers, in means over seeds.

    None where there is no distance to cover, up to rounding.
    """
    floor, reached, ceiling = (float(np.mean(arm)) for arm in (method, regularized, supervised))
    if math.isclose(floor, ceiling, rel_tol=1e-9, abs_tol=1e-12):
        return None
    return (reached - floor) / (ceiling - floor)


def _finite(values: Values, spec: str, key: MetricKey) -> dict[int, float]:
    found = {seed: metrics[key] for seed, metrics in values[spec].items() if key in metrics}
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def _compare(
    values: Values,
    spec: str,
    against: str,
    key: MetricKey,
    primary: MetricKey,
    higher_is_better: bool | None,
    supervised: str | None,
) -> Comparison | None:
    """The row of one metric before it is judged within its family; None where the arms share no seed."""
    ours, theirs = _finite(values, spec, key), _finite(values, against, key)
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    arm, other = [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
    differences = [a - b for a, b in zip(arm, other, strict=True)]
    low, high = sign_flip_interval(differences)
    t_low, t_high = t_interval(differences)
    gap = None
    if supervised is not None and supervised not in (spec, against) and higher_is_better is not None:
        ceiling = list(_finite(values, supervised, key).values())
        gap = gap_closed(other, arm, ceiling) if ceiling else None
    return Comparison(
        spec=spec,
        against=against,
        key=key,
        role="primary" if key == primary else "descriptive" if higher_is_better is None else "secondary",
        higher_is_better=higher_is_better,
        n_seeds=len(seeds),
        mean_against=float(np.mean(other)),
        std_against=_std(other),
        mean=float(np.mean(arm)),
        std=_std(arm),
        difference=float(np.mean(differences)),
        low=low,
        high=high,
        t_low=t_low,
        t_high=t_high,
        p=sign_flip_p(differences),
        p_holm=None,
        can_reach_05=smallest_p(len(seeds)) < ALPHA,
        gap_closed=gap,
        verdict="",
    )


def _std(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _judged(rows: Sequence[Comparison]) -> list[Comparison]:
    """The rows of one pair with their verdicts; the secondary metrics of two seeds or more are one Holm family."""
    family = [row.key for row in rows if row.role == "secondary" and row.n_seeds >= 2]
    adjusted = dict(zip(family, holm([row.p for row in rows if row.key in family]), strict=True))
    judged = []
    for row in rows:
        if row.role == "secondary":
            reachable = row.key in adjusted and smallest_p(row.n_seeds) * len(family) < ALPHA
            row = replace(row, p_holm=adjusted.get(row.key), can_reach_05=reachable)
        judged.append(replace(row, verdict=_verdict(row)))
    return judged


def _verdict(row: Comparison) -> str:
    if row.role == "descriptive":
        return ""
    if row.n_seeds < ENOUGH_SEEDS:
        return "insufficient evidence"
    if (row.p if row.p_holm is None else row.p_holm) < ALPHA:
        return "better" if (row.difference > 0) == row.higher_is_better else "worse"
    return "no difference shown" if row.can_reach_05 else f"cannot reach .05 with {row.n_seeds} seeds"
