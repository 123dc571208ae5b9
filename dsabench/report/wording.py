"""How metrics and numbers are written for people: names, units, digits. Plain text, shared by every report."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# What tables call a probe, and those of its constants that they leave to the CSV files. Any other option is shown.
_PROBES: Mapping[str, tuple[str, frozenset[str]]] = {
    "knn": ("kNN", frozenset({"temperature"})),
    "knn5": ("5-NN", frozenset({"k"})),
    "linear": ("linear", frozenset({"C", "select", "standardise"})),
}
_METRICS: Mapping[str, str] = {
    "cdnv": "CDNV",
    "rankme": "RankMe",
    "intra_class_variance": "intra-class var.",
    "inter_class_separation": "inter-class sep.",
    "davies_bouldin": "Davies-Bouldin",
    "fisher_ratio": "Fisher ratio",
}


def parameters(probe_params: str) -> dict[str, Any]:
    """The mapping behind `probe_params`; an empty text has none."""
    mapping: dict[str, Any] = json.loads(probe_params or "{}")
    return mapping


def label(probe: str, probe_params: str, metric: str) -> str:
    """What tables call a metric: `CDNV`, `kNN (k=20)`, `1-shot (centroid)`, `linear`."""
    name, unsaid = _PROBES.get(probe, (probe.replace("_", " "), frozenset()))
    options = {option: value for option, value in parameters(probe_params).items() if option not in unsaid}
    words = [f"{options.pop('shots')}-shot" if "shots" in options else name]
    if metric != "accuracy":
        words = words if probe != "crowding" else []
        words.append(_METRICS.get(metric, metric.replace("_", " ")))
    details = ", ".join(value if isinstance(value, str) else f"{option}={value}" for option, value in options.items())
    return " ".join([*words, f"({details})"] if details else words)


class Scale(NamedTuple):
    """How one metric's numbers are written: accuracies in %, others to about three digits."""

    factor: float
    decimals: int

    @classmethod
    def of(cls, metric: str, *values: float) -> Scale:
        """The scale that suits `values` of `metric`."""
        if metric == "accuracy":
            return cls(100.0, 1)
        largest = max((abs(value) for value in values if math.isfinite(value) and value), default=1.0)
        magnitude = math.floor(math.log10(largest))
        return cls(1.0, min(6, max(0, 3 - magnitude if magnitude >= 0 else max(3, 1 - magnitude))))

    def text(self, value: float, sign: str = "") -> str:
        """One number; `sign="+"` for a difference. A small one reads neither as none nor as `-0.000`."""
        scaled = value * self.factor
        text = f"{scaled:{sign}.{self.decimals}f}"
        return f"{scaled:{sign}.1g}" if scaled and float(text) == 0 else text

    def interval(self, low: float, high: float) -> str:
        """`-0.062 to -0.040`, or that no bound exists."""
        return (
            "unbounded" if math.isinf(low) and math.isinf(high) else f"{self.text(low, '+')} to {self.text(high, '+')}"
        )


def p_text(p: float | None) -> str:
    """Three decimals, `<.001` below them, empty where there is no p."""
    if p is None:
        return ""
    return "<.001" if p < 0.001 else f"{p:.3f}"


def spread(values: Sequence[float], *, percent: bool, plus_minus: str = "±") -> str:
    """Mean and sample standard deviation in few characters: `.117±.006`, `98.3±.4`; one value stands alone."""
    scaled = [100 * value if percent else value for value in values]
    mean = sum(scaled) / len(scaled)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in scaled) / max(1, len(scaled) - 1))
    size = abs(mean) + deviation
    fine = 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    decimals = fine if not percent else 1 if deviation < 10 else 0
    parts = (mean, deviation) if len(scaled) > 1 else (mean,)
    return plus_minus.join(re.sub(r"^(-?)0\.", r"\1.", f"{part:.{decimals}f}") for part in parts)


def broken(spec: str, width: int) -> str:
    """A spec with line breaks where they read best, for lines of `width` characters as far as that can be."""
    lines = [""]
    for piece in re.split(r"(?<=[_,=])|(?=[+\[])", spec):
        if lines[-1] and len(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def short_names(spec: str, against: str) -> tuple[str, str]:
    """Column heads for two specs: without their options, unless nothing would tell them apart then."""
    heads = (re.sub(r"\[[^\]]*\]", "", spec), re.sub(r"\[[^\]]*\]", "", against))
    return heads if heads[0] != heads[1] else ("spec", "against")
