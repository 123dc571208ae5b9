"""What a comparison is judged by: the primary metric, the guards beside it, and the smallest effect that matters."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from dsabench.config.spec import Part, parse_part
from dsabench.errors import UsageError, unknown
from dsabench.evaluators import CROWDING
from dsabench.metrics import METRICS
from dsabench.probes import PROBES
from dsabench.registry import Scalar
from dsabench.stats.limits import MARGIN, SMALLEST_EFFECT

if TYPE_CHECKING:
    from dsabench.stats import MetricKey

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

    @property
    def evaluator(self) -> str:
        """The probe or metric by which it is measured."""
        return self.metric if self.probe == CROWDING else self.probe

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


@dataclass(frozen=True)
class Criteria:
    """The primary metric, its guards, the least gain that matters, as a share of the baseline's mean, and the layer."""

    primary: MetricChoice
    guards: tuple[MetricGuard, ...]
    smallest_effect: float = SMALLEST_EFFECT
    layer: str = "backbone"

    @property
    def probes(self) -> tuple[str, ...]:
        """The probes that these are measured by."""
        return tuple(choice.evaluator for choice in (self.primary, *(guard.choice for guard in self.guards)))


def is_core(key: MetricKey) -> bool:
    """Whether a key is of the core tier, with the options that evaluators have where none are given."""
    entry = (METRICS if key.probe == CROWDING else PROBES).get(key.metric if key.probe == CROWDING else key.probe)
    if entry is None or entry.tier != "core":
        return False
    params = json.loads(key.params)
    return all(params.get(option, default) == default for option, default in entry.options.items())
