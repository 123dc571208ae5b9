"""From the rows of many runs to paired comparisons: which pairs, which metric carries the verdict, what each cost."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from statistics import median

from dsabench.config.spec import Part, Spec, parse_spec
from dsabench.errors import NothingToCompare
from dsabench.evaluators import CROWDING
from dsabench.stats import Comparison, Guard, MetricKey, summarise
from dsabench.tables.criteria import Criteria, is_core
from dsabench.tables.rows import Row

SHORTEST_S = 5.0
"""Runs that take less, in seconds, say nothing of what an arm costs: what begins and ends a run is most of them."""


def pairs_of(specs: Sequence[Spec]) -> list[tuple[str, str]]:
    """(arm, against): every arm against the first, and every regularized one against its own plain method too.

    That is the one with the same options, or where both were tuned the only plain arm of that method.
    """
    baseline = specs[0]
    pairs = []
    for spec in specs[1:]:
        pairs.append((str(spec), str(baseline)))
        plain = own_plain(spec, specs)
        if plain is not None and plain != baseline:
            pairs.append((str(spec), str(plain)))
    return pairs


def own_plain(spec: Spec, specs: Sequence[Spec]) -> Spec | None:
    """The plain arm of a regularized one's method; None for a plain arm, and where none or several could be meant."""
    if spec.regularizer == Part("none"):
        return None
    plain = [one for one in specs if one.regularizer == Part("none") and one.method.name == spec.method.name]
    same = [one for one in plain if one.method == spec.method]
    return (same or plain)[0] if len(same or plain) == 1 else None


def compare_rows(
    rows: Sequence[Row],
    specs: Sequence[str],
    criteria: Criteria,
    layer: str,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    family: Collection[MetricKey] | None = None,
    seeds: Iterable[int] | None = None,
) -> list[Comparison]:
    """The comparisons of all pairs that have runs, failed ones counted, and one value at least.

    `pairs` are `pairs_of` the specs by default; given, the specs may be any names that rows have for theirs. `family`
    is the core tier by default, `seeds` are those that the runs of a pair have. An arm `without_seeds` is tested by
    nothing.
    Raises NothingToCompare where no pair has finished runs or none of them the primary metric.
    """
    values: dict[str, dict[int, dict[MetricKey, float]]] = {}
    failures: dict[str, set[int]] = {}
    directions: dict[MetricKey, bool | None] = {}
    for row in rows:
        if row.status == "failed":
            failures.setdefault(row.spec, set()).add(row.seed)
        elif row.value is not None or row.probe == CROWDING:
            # A metric that is not defined for a run's features is one that the run failed, and no other.
            key = key_of(row)
            values.setdefault(row.spec, {}).setdefault(row.seed, {})[key] = math.nan if row.value is None else row.value
            directions[key] = row.higher_is_better
    if pairs is None:
        parsed = [parse_spec(text) for text in specs]
        specs, pairs = [str(spec) for spec in parsed], pairs_of(parsed)
    ran = values.keys() | failures.keys()
    pairs = [pair for pair in pairs if ran >= set(pair) and values.keys() & set(pair)]
    if not pairs:
        raise NothingToCompare("no two of the specs have finished runs")
    main = criteria.primary.among(directions, layer)
    if main is None:
        raise NothingToCompare(f"the primary metric {criteria.primary} was not measured on the layer {layer!r}")
    return summarise(
        values,
        pairs=pairs,
        primary=main,
        directions=directions,
        supervised=next((text for text in specs if text == "supervised" and text in values), None),
        guards=[
            Guard(str(guard.choice), guard.choice.among(directions, layer), guard.margin) for guard in criteria.guards
        ],
        smallest_effect=criteria.smallest_effect,
        family={one for one in directions if is_core(one)} if family is None else family,
        failures=failures,
        seeds=seeds,
        seedless=without_seeds(rows),
    )


def without_seeds(rows: Iterable[Row]) -> list[str]:
    """The arms of one set of weights each, in order of appearance: models and embeddings that no run here trained.

    Their rows say so, whichever table they come from, by saying nothing of views.
    """
    arms: dict[str, bool] = {}
    for row in rows:
        arms[row.spec] = arms.get(row.spec, True) and not row.augment
    return [arm for arm, alone in arms.items() if alone]


def key_of(row: Row) -> MetricKey:
    """What the value of a row measures."""
    return MetricKey(row.layer, row.probe, row.probe_params, row.metric)


def cost_ratios(
    rows: Sequence[Row], comparisons: Sequence[Comparison], fresh: Collection[str]
) -> dict[tuple[str, str], float]:
    """How many times the training time of the other arm each arm took, from the medians over its `fresh` runs (ids).

    Those are best trained by one command; the times of others come from other hours of the machine. A pair of which
    one arm has no fresh run, or runs of less than `SHORTEST_S`, is left out.
    """
    seconds: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.status == "ok" and row.wall_s and row.run_id in fresh:
            seconds.setdefault(row.spec, {})[row.run_id] = row.wall_s
    typical = {spec: taken for spec, times in seconds.items() if (taken := median(times.values())) >= SHORTEST_S}
    pairs = {(comparison.spec, comparison.against) for comparison in comparisons}
    return {
        (spec, against): typical[spec] / typical[against]
        for spec, against in pairs
        if spec in typical and against in typical
    }
