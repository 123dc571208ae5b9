"""From values per arm, seed and metric to one row per pair of arms and metric, with a verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from dsabench.errors import UsageError
from dsabench.stats.comparison import Comparison
from dsabench.stats.limits import SMALLEST_EFFECT
from dsabench.stats.outcomes import Failures, MetricKey, Outcomes, Values, outcomes
from dsabench.stats.paired import skewed, smallest_p, t_interval
from dsabench.stats.verdict import ALPHA, NO_SEEDS, Guard, judged


def summarise(
    values: Values,
    *,
    pairs: Sequence[tuple[str, str]],
    primary: MetricKey,
    directions: Mapping[MetricKey, bool | None],
    supervised: str | None = None,
    guards: Sequence[Guard] = (),
    smallest_effect: float = SMALLEST_EFFECT,
    family: Collection[MetricKey] | None = None,
    failures: Failures | None = None,
    seeds: Iterable[int] | None = None,
    seedless: Collection[str] = (),
) -> list[Comparison]:
    """Compare each (spec, against) of `pairs` on every metric that one has, from `values[spec][seed][key]`.

    The primary metric comes first and is judged as `dsabench.stats.verdict` says, `smallest_effect` a share of the
    baseline's mean; the others of `family` (by default all) that have a direction are judged by Holm within their
    pair; the rest is described. `failures[spec]` are the seeds whose run failed; a value that is not
    finite is a failure of that metric. `seeds` are those asked for, by default all that an arm of the pair has: a run
    that is not there is missing, and no verdict rests on what it might have given. A metric that no pair of runs has
    an outcome of gives no row. Arms that are `seedless`, models of one set of weights, stand beside the one run of the
    others that has their seed: no run is missing, and nothing is tested.

    `gap_closed` is set for metrics with a direction, where `against` is the same method under another regularizer and
    `supervised` is a third arm. Raises UsageError where the primary metric has no better direction, and KeyError for a
    metric that `directions` lacks.
    """
    if directions[primary] is None:
        raise UsageError(
            f"the primary metric {primary.metric!r} ({primary.layer}, {primary.probe}) has no better direction, so it "
            "can carry no verdict; choose one that has, see: dsabench list metrics"
        )
    seeds = None if seeds is None else sorted(set(seeds))
    rows = []
    for pair in pairs:
        seen = [key for arm in pair for metrics in values.get(arm, {}).values() for key in metrics]
        single = next((arm for arm in pair if arm in seedless), None)
        asked = seeds if single is None else values.get(single, {}).keys()
        ceiling = supervised if base_method(pair[0]) == base_method(pair[1]) and supervised not in pair else None
        for key in sorted(dict.fromkeys(seen), key=lambda key: key != primary):
            direction = directions[key]
            outcome = outcomes(values, pair, key, higher_is_better=direction, failures=failures or {}, seeds=asked)
            if outcome is not None:
                inside = direction is not None and (family is None or key in family)
                role = "primary" if key == primary else "secondary" if inside else "descriptive"
                row = _compared(pair, key, role, direction, outcome)
                rows.append(row if ceiling is None else _with_gap(row, outcome, values, ceiling))
    return [
        replace(row, verdict=NO_SEEDS) if row.role != "descriptive" and {row.spec, row.against} & {*seedless} else row
        for row in judged(rows, guards=guards, smallest_effect=smallest_effect)
    ]


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


def _compared(pair: tuple[str, str], key: MetricKey, role: str, direction: bool | None, found: Outcomes) -> Comparison:
    """The row of one metric before it is judged."""
    p, low, high = found.test()
    t_low, t_high = t_interval(found.differences) if found.differences else (-math.inf, math.inf)
    return Comparison(
        spec=pair[0],
        against=pair[1],
        key=key,
        role=role,
        higher_is_better=direction,
        n_seeds=len(found.differences),
        mean_against=_mean(found.against),
        std_against=_std(found.against),
        mean=_mean(found.arm),
        std=_std(found.arm),
        difference=_mean(found.differences),
        low=low,
        high=high,
        t_low=t_low,
        t_high=t_high,
        p=p,
        p_holm=None,
        can_reach_05=smallest_p(found.n_pairs) < ALPHA,
        gap_closed=None,
        verdict="",
        test="signed-rank" if found.by_ranks else "sign-flip",
        n_pairs=found.n_pairs,
        n_failed=found.n_failed,
        n_failed_against=found.n_failed_against,
        missing=found.missing,
        missing_against=found.missing_against,
        skewed=skewed(found.differences),
    )


def _with_gap(row: Comparison, found: Outcomes, values: Values, ceiling: str) -> Comparison:
    """The row with the share of the gap to the arm `ceiling` that is closed, where there is one to close."""
    measured = {seed: metrics[row.key] for seed, metrics in values[ceiling].items() if row.key in metrics}
    reached = {seed: value for seed, value in measured.items() if math.isfinite(value)}
    if row.higher_is_better is None or not reached or not found.seeds:
        return row
    share = gap_closed(found.against, found.arm, list(reached.values()))
    if share is None:
        return row
    # It needs the project's generators, and with them torch, which listing what exists must not wait for.
    from dsabench.stats.bootstrap import gap_interval

    low, high = gap_interval(found.against, found.arm, list(reached.values()), paired=list(reached) == found.seeds)
    return replace(row, gap_closed=share, ceiling=ceiling, gap_low=low, gap_high=high)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
