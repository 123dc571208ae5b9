"""How metrics and numbers are written for people: names, units, digits. Plain text, for whoever draws a table."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from dsabench.report.table import (
    Arm,
    Cell,
    Column,
    Difference,
    Interval,
    Mean,
    Measure,
    Number,
    PValue,
    Verdict,
)

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


BETTER = "↑ higher, ↓ lower is better"
LABELS = "†"


def marks(measured: Column | Measure) -> str:
    """A metric's unit and the arrow of its better direction, `% ↑`; empty where it has neither."""
    arrow = {True: "↑", False: "↓", None: ""}[measured.higher_is_better]
    return f"{measured.unit} {arrow}".strip()


def headed(measured: Column | Measure) -> str:
    """A metric or a column with its unit and arrow: `kNN (k=20) % ↑`."""
    return f"{measured.label} {marks(measured)}".rstrip()


def written(cell: Cell, *, plus_minus: str = "±") -> str:
    """A cell as text; of an arm its spec alone."""
    match cell:
        case None:
            return ""
        case Measure():
            return headed(cell)
        case Arm():
            return cell.spec
        case Verdict():
            return cell.word
        case PValue():
            return "<.001" if cell.value < 0.001 else f"{cell.value:.3f}"
        case Mean():
            return _spread(cell, plus_minus)
        case Number(value, "s"):
            return f"{value:.0f}"
        case Number(value, _, None):
            return f"{value:.4g}"
        case Number() | Difference():
            return _number(cell.value, cell.unit, cell.size, "+" if isinstance(cell, Difference) else "")
        case Interval(low, high, unit, size):
            if math.isinf(low) and math.isinf(high):
                return "unbounded"
            return f"{_number(low, unit, size, '+')} to {_number(high, unit, size, '+')}"
        case _:
            return str(cell)


def _number(value: float, unit: str, size: float | None, sign: str) -> str:
    """One number; a small one reads neither as none nor as `-0.000`."""
    scaled = value * (100 if unit == "%" else 1)
    if unit == "%":
        decimals = 1
    else:
        magnitude = math.floor(math.log10(size if size and math.isfinite(size) else 1.0))
        decimals = min(6, max(0, 3 - magnitude if magnitude >= 0 else max(3, 1 - magnitude)))
    text = f"{scaled:{sign}.{decimals}f}"
    return f"{scaled:{sign}.1g}" if scaled and float(text) == 0 else text


def _spread(cell: Mean, plus_minus: str) -> str:
    factor = 100 if cell.unit == "%" else 1
    parts = [factor * part for part in (cell.value, cell.deviation) if part is not None]
    deviation = parts[1] if len(parts) > 1 else 0.0
    size = abs(parts[0]) + deviation
    fine = 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    decimals = fine if cell.unit != "%" else 1 if deviation < 10 else 0
    return plus_minus.join(re.sub(r"^(-?)0\.", r"\1.", f"{part:.{decimals}f}") for part in parts)


def n_seeds(count: int) -> str:
    """`1 seed`, `6 seeds`."""
    return f"{count} seed" if count == 1 else f"{count} seeds"


def unit_of(metric: str) -> str:
    """`%` for a share of the images, nothing for a value without a unit."""
    return "%" if metric == "accuracy" else ""


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
