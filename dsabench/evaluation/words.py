"""Probes and metrics as one kind, asked for by words; nothing here waits for what computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsabench.config.options import check_options
from dsabench.config.spec import Part, parse_part
from dsabench.errors import UsageError, unknown
from dsabench.evaluators import CROWDING, Evaluator
from dsabench.metrics import METRICS
from dsabench.probes import PROBES

EVALUATORS: Mapping[str, Evaluator] = {**PROBES, **METRICS}

# What is asked for where nothing is said.
CORE = (*(name for name, probe in PROBES.items() if probe.tier == "core"), CROWDING)


def asked(words: Sequence[str]) -> list[Part]:
    """The evaluators that words ask for, each once, with all their options: `knn`, `knn[k=5]`, `hubness`, and
    `crowding` for the core metrics. Raises UsageError for a name, an option or a value that does not exist.
    """
    parts: dict[str, Part] = {}
    for part in map(parse_part, words):
        if part == Part(CROWDING):
            core = (name for name, metric in METRICS.items() if metric.tier == "core")
            found = [resolved(Part(name)) for name in core]
        else:
            found = [resolved(part)]
        parts |= {str(one): one for one in found}
    return list(parts.values())


def resolved(part: Part) -> Part:
    """An evaluator with all its options; raises UsageError for a name, an option or a value that does not exist."""
    if part.name not in EVALUATORS:
        raise unknown("probe", part.name, [*PROBES, CROWDING, *METRICS], "dsabench list probes")
    defaults = EVALUATORS[part.name].options
    check_options(part.name, part.options, {option: type(default) for option, default in defaults.items()})
    for option, value in part.options.items():
        if not isinstance(value, str) and value <= 0:
            raise UsageError(f"the option {option} of {part.name} must be above 0, got {value!r}")
    return Part(part.name, {**defaults, **part.options})
