"""From the rows of many runs to paired comparisons: which pairs, which metric carries the verdict, what each cost."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from dsabench.config.spec import Part, Spec, parse_part, parse_spec
from dsabench.errors import NothingToCompare, UsageError, unknown
from dsabench.evaluators import CROWDING
from dsabench.metrics import METRICS
from dsabench.probes import PROBES
from dsabench.registry import Scalar
from dsabench.stats import MARGIN, SMALLEST_EFFECT, Comparison, Guard, MetricKey, summarise
from dsabench.tables.rows import Row

# A probe with several accuracies needs these options to name one of them, each with the values that there are.
NEEDED_OPTIONS: dict[str, dict[str, tuple[Scalar, ...]]] = {
    "fewshot": {"classifier": ("centroid", "logistic"), "shots": (1, 5, 10)}
}
GUARDS = ("knn", "fewshot[classifier=centroid,shots=5]")


@dataclass(frozen=True)
class MetricChoice:
    """One metric among all that are measured, as a comparison declares it; its text reads back."""

    probe: str
    metric: str
    options: Mapping[str, Scalar]

    def __str__(self) -> str:
        return self.metric if self.probe == CROWDING else str(Part(self.probe, self.options))

    def matches(self, key: MetricKey) -> bool:
        """Whether a key is this metric, on whichever layer."""
        params = json.loads(key.params)
        return (key.probe, key.metric) == (self.probe, self.metric) and all(
            params.get(name) == value for name, value in self.options.items()
        )

    def among(self, keys: Iterable[MetricKey], layer: str) -> MetricKey | None:
        """The key of this metric on a layer, with the probe's own options before others; None where there is none."""
        found = [key for key in keys if key.layer == layer and self.matches(key)]
        return min(found, key=lambda key: not is_core(key), default=None)


class MetricGuard(NamedTuple):
    """A metric that must not fall by more than `margin`, in its own units."""

    choice: MetricChoice
    margin: float = MARGIN


def parse_primary(text: str) -> MetricChoice:
    """A metric's name (`cdnv`), or a probe's for its accuracy (`knn`, `fewshot[classifier=centroid,shots=1]`)."""
    return _parse_choice("primary metric", text)


def parse_guard(text: str, margin: float = MARGIN) -> MetricGuard:
    """The same for a guard."""
    return MetricGuard(_parse_choice("guard", text), margin)


def parse_share(flag: str, text: str) -> float:
    """A share from 0 to 1, `0.01` or `1%`, as the flag's value; raises UsageError otherwise."""
    number, percent, rest = text.strip().partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if rest or not 0 <= share < 1:
        hint = f"; did you mean {share / 100:g}?" if not percent and 1 <= share < 100 else ""
        raise UsageError(f"{flag} {text!r} is no share between 0 and 1, such as 0.01 or 1%{hint}")
    return share


def _parse_choice(kind: str, text: str) -> MetricChoice:
    part = parse_part(text)
    if part.name in METRICS:
        if part.options or METRICS[part.name].higher_is_better is None:
            raise UsageError(
                f"{text!r} cannot carry a verdict: neither direction of it is better, or it has no options"
            )
        return MetricChoice(CROWDING, part.name, {})
    if part.name not in PROBES:
        raise unknown(kind, part.name, [*METRICS, *PROBES], "dsabench list metrics")
    needed = NEEDED_OPTIONS.get(part.name, {})
    if part.options.keys() != needed.keys():
        example = Part(part.name, {option: values[0] for option, values in needed.items()})
        raise UsageError(f"the {kind} {text!r} must name one accuracy of the probe, as in {example}")
    for option, value in part.options.items():
        if value not in needed[option]:
            raise unknown(f"{option} of {part.name}", str(value), map(str, needed[option]))
    return MetricChoice(part.name, "accuracy", part.options)


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


def compare_rows(
    rows: Sequence[Row],
    specs: Sequence[str],
    primary: MetricChoice,
    layer: str,
    *,
    guards: Sequence[MetricGuard] | None = None,
    smallest_effect: float = SMALLEST_EFFECT,
    family: Collection[MetricKey] | None = None,
    seeds: Iterable[int] | None = None,
) -> list[Comparison]:
    """The comparisons of all pairs that have runs, failed ones counted, and one value at least.

    `guards` are `GUARDS` by default, `family` is the core tier, `seeds` are those that the runs of a pair have. Raises
    NothingToCompare where no pair has finished runs or none of them the primary metric.
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
    parsed = [parse_spec(text) for text in specs]
    ran = values.keys() | failures.keys()
    pairs = [pair for pair in pairs_of(parsed) if ran >= set(pair) and values.keys() & set(pair)]
    if not pairs:
        raise NothingToCompare("no two of the specs have finished runs; see the errors above")
    main = primary.among(directions, layer)
    if main is None:
        raise NothingToCompare(f"the primary metric {primary} was not measured on the layer {layer!r}")
    chosen = [parse_guard(text) for text in GUARDS] if guards is None else guards
    return summarise(
        values,
        pairs=pairs,
        primary=main,
        directions=directions,
        supervised=next((text for text in map(str, parsed) if text == "supervised" and text in values), None),
        guards=[Guard(str(guard.choice), guard.choice.among(directions, layer), guard.margin) for guard in chosen],
        smallest_effect=smallest_effect,
        family={one for one in directions if is_core(one)} if family is None else family,
        failures=failures,
        seeds=seeds,
    )


def key_of(row: Row) -> MetricKey:
    """What the value of a row measures."""
    return MetricKey(row.layer, row.probe, row.probe_params, row.metric)


def cost_ratios(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> dict[tuple[str, str], float]:
    """How many times the training time of the other arm each arm took, from the medians over its runs."""
    seconds: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.status == "ok" and row.wall_s:
            seconds.setdefault(row.spec, {})[row.run_id] = row.wall_s
    typical = {spec: median(times.values()) for spec, times in seconds.items()}
    pairs = {(comparison.spec, comparison.against) for comparison in comparisons}
    return {
        (spec, against): typical[spec] / typical[against]
        for spec, against in pairs
        if spec in typical and against in typical and not math.isclose(typical[against], 0.0)
    }
