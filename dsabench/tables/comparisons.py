"""From the rows of many runs to paired comparisons: which pairs, which metric carries the verdict, what each cost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from dsabench.config.spec import Part, Spec, parse_part, parse_spec
from dsabench.errors import NothingToCompare, UsageError, unknown
from dsabench.evaluators import CROWDING
from dsabench.metrics import METRICS
from dsabench.probes import PROBES
from dsabench.registry import Scalar
from dsabench.stats import Comparison, MetricKey, summarise
from dsabench.tables.rows import Row

# A probe with several accuracies needs these options to name one of them.
NEEDED_OPTIONS: dict[str, dict[str, Scalar]] = {"fewshot": {"classifier": "centroid", "shots": 1}}


@dataclass(frozen=True)
class Primary:
    """The one metric that carries the verdict, declared before anything runs."""

    probe: str
    metric: str
    options: Mapping[str, Scalar]

    def matches(self, key: MetricKey) -> bool:
        """Whether a key is this metric, on whichever layer."""
        params = json.loads(key.params)
        return (key.probe, key.metric) == (self.probe, self.metric) and all(
            params.get(name) == value for name, value in self.options.items()
        )


def parse_primary(text: str) -> Primary:
    """A metric's name (`cdnv`), or a probe's for its accuracy (`knn`, `fewshot[classifier=centroid,shots=1]`)."""
    part = parse_part(text)
    if part.name in METRICS:
        if part.options or METRICS[part.name].higher_is_better is None:
            raise UsageError(
                f"{text!r} cannot carry a verdict: neither direction of it is better, or it has no options"
            )
        return Primary(CROWDING, part.name, {})
    if part.name not in PROBES:
        raise unknown("primary metric", part.name, [*METRICS, *PROBES], "dsabench list metrics")
    needed = NEEDED_OPTIONS.get(part.name, {})
    if part.options.keys() != needed.keys():
        example = Part(part.name, needed)
        raise UsageError(f"the primary metric {text!r} must name one accuracy of the probe, as in {example}")
    return Primary(part.name, "accuracy", part.options)


def is_core(key: MetricKey) -> bool:
    """Whether a key is of the core tier, with the options that evaluators have where none are given."""
    entry = (METRICS if key.probe == CROWDING else PROBES).get(key.metric if key.probe == CROWDING else key.probe)
    if entry is None or entry.tier != "core":
        return False
    params = json.loads(key.params)
    return all(params.get(option, default) == default for option, default in entry.options.items())


def pairs_of(specs: Sequence[Spec]) -> list[tuple[str, str]]:
    """(arm, against): every arm against the first, and every regularized one against its own plain method too."""
    baseline = specs[0]
    pairs = []
    for spec in specs[1:]:
        plain = Spec(spec.method)
        pairs.append((str(spec), str(baseline)))
        if spec != plain and plain in specs[1:]:
            pairs.append((str(spec), str(plain)))
    return pairs


def compare_rows(rows: Sequence[Row], specs: Sequence[str], primary: Primary, layer: str) -> list[Comparison]:
    """The comparisons of all pairs that have finished runs; raises NothingToCompare where there are none."""
    values: dict[str, dict[int, dict[MetricKey, float]]] = {}
    directions: dict[MetricKey, bool | None] = {}
    for row in rows:
        if row.status == "ok" and row.value is not None:
            key = MetricKey(row.layer, row.probe, row.probe_params, row.metric)
            values.setdefault(row.spec, {}).setdefault(row.seed, {})[key] = row.value
            directions[key] = row.higher_is_better
    parsed = [parse_spec(text) for text in specs]
    pairs = [pair for pair in pairs_of(parsed) if values.keys() >= set(pair)]
    if not pairs:
        raise NothingToCompare("no two of the specs have finished runs; see the errors above")
    matching = [key for key in directions if key.layer == layer and primary.matches(key)]
    if not matching:
        raise UsageError(f"the primary metric is not measured: {primary.probe} has no {primary.metric} on {layer}")
    # Of one probe under several options the one without is meant.
    key = min(matching, key=lambda found: not is_core(found))
    # What is measured on request is described: it must not move the p values of the declared family.
    directions = {found: better if found == key or is_core(found) else None for found, better in directions.items()}
    supervised = next((str(spec) for spec in parsed if str(spec) in values and spec == Spec(Part("supervised"))), None)
    return summarise(values, pairs=pairs, primary=key, directions=directions, supervised=supervised)


def cost_ratios(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> dict[tuple[str, str], float]:
    """How many times the training time of the other arm each arm took, from the means over its runs."""
    seconds: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.status == "ok" and row.wall_s:
            seconds.setdefault(row.spec, {})[row.run_id] = row.wall_s
    means = {spec: fmean(times.values()) for spec, times in seconds.items()}
    pairs = {(comparison.spec, comparison.against) for comparison in comparisons}
    return {
        (spec, against): means[spec] / means[against]
        for spec, against in pairs
        if spec in means and against in means and not math.isclose(means[against], 0.0)
    }
