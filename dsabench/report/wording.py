"""How metrics and numbers are written for people: names, units, digits. Plain text, for whoever draws a table."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dsabench.config.spec import without_options
from dsabench.report.glyphs import bar, sparkline
from dsabench.report.table import (
    Arm,
    Bar,
    Cell,
    Column,
    Curve,
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
    "directional_cdnv": "directional CDNV",
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
        words = words if probe not in ("crowding", metric) else []
        words.append(_METRICS.get(metric, metric.replace("_", " ")))
    details = ", ".join(value if isinstance(value, str) else f"{option}={value}" for option, value in options.items())
    return " ".join([*words, f"({details})"] if details else words)


BETTER = "↑ higher, ↓ lower is better"
LABELS = "†"


# Intervals without a number in them: nothing is ruled out, or every finite difference is.
_ENDLESS = ("unbounded", "infinite")


def marks(measured: Column | Measure) -> str:
    """A metric's unit and the arrow of its better direction, `% ↑`; empty where it has neither."""
    arrow = {True: "↑", False: "↓", None: ""}[measured.higher_is_better]
    return f"{measured.unit} {arrow}".strip()


def headed(measured: Column | Measure) -> str:
    """A metric or a column with its unit and arrow: `kNN (k=20) % ↑`."""
    return f"{measured.label} {marks(measured)}".rstrip()


def written(cell: Cell, *, plus_minus: str = "±") -> str:
    """A cell as text; of an arm its spec alone. No number has a zero before its point, as in `.117±.008`."""
    match cell:
        case None:
            return ""
        case Measure():
            return headed(cell)
        case Arm():
            return cell.spec
        case Bar():
            return bar(cell)
        case Curve():
            return sparkline(cell)
        case Verdict():
            return cell.word
        case PValue():
            return "<.001" if cell.value < 0.001 else _digits(cell.value, 3)
        case Mean():
            return _spread(cell, plus_minus)
        case Number(value, unit):
            return _digits(_scaled(value, unit), _decimals(unit, abs(value)))
        case Difference():
            return _difference(cell.value, cell.unit, cell.size)
        case Interval(low, high, unit, size):
            if math.isinf(low) and math.isinf(high):
                return _ENDLESS[low == high]
            return f"{_difference(low, unit, size)} to {_difference(high, unit, size)}"
        case _:
            return str(cell)


def _scaled(value: float, unit: str) -> float:
    return 100 * value if unit == "%" else value


def _decimals(unit: str, size: float, finer: int = 0) -> int:
    """Places behind the point: one of a percentage, none of seconds; else three digits, at least two of a small number.

    A difference is `finer` where that takes digits from before the point, for pairs differ by less than their means.
    """
    if unit:
        return {"%": 1, "s": 0}[unit]
    magnitude = math.floor(math.log10(size)) if 0 < size < math.inf else -1
    return max(0, 2 + finer - magnitude) if magnitude >= 0 else min(6, max(3, 1 - magnitude))


def _digits(value: float, decimals: int, sign: str = "") -> str:
    """One number, rounded here and nowhere else; neither a small one reads as none, nor a large one as a page."""
    # Minus zero has no sign either.
    value += 0.0
    text = f"{value:{sign}.{decimals}f}"
    if abs(value) >= 1e6:
        text = f"{value:{sign}.3g}"
    elif value and float(text) == 0:
        text = f"{value:{sign}.1g}"
    return re.sub(r"^([+-]?)0\.", r"\1.", text)


def _difference(value: float, unit: str, size: float) -> str:
    return _digits(_scaled(value, unit), _decimals(unit, size, finer=1), "+") if value else "0"


def _spread(cell: Mean, plus_minus: str) -> str:
    decimals = _decimals(cell.unit, max(abs(cell.value), cell.deviation or 0.0))
    mean = _digits(_scaled(cell.value, cell.unit), decimals)
    if cell.deviation is None:
        return mean
    # A spread below the last digit of its mean is none.
    return f"{mean}{plus_minus}{_digits(round(_scaled(cell.deviation, cell.unit), decimals), decimals)}"


def told(cell: Difference | Interval) -> str:
    """A difference or an interval as in a sentence: of a percentage in points."""
    text = written(cell)
    return text if cell.unit != "%" or text in _ENDLESS else f"{text} points"


def amount(value: float, unit: str) -> str:
    """A number that somebody chose, such as a margin, with the digits that were chosen and no others."""
    return re.sub(r"^0\.", ".", f"{_scaled(value, unit):g}")


def printable(text: str) -> str:
    """Text without what a terminal would obey or cannot encode: names come from users and folders."""
    return "".join(mark if mark.isprintable() or mark == "\n" else "?" for mark in text)


def counted(count: int, noun: str) -> str:
    """`1 seed`, `6 seeds`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def too_few(n_pairs: int, would_do: int | None, after: str = "") -> str:
    """What the verdict `too few` means, and what would do: `6 seeds are too few, 10 would do`."""
    verb = "is" if n_pairs == 1 else "are"
    return f"{counted(n_pairs, 'seed')} {verb} too few{after}" + (f", {would_do} would do" if would_do else "")


def times(ratio: float) -> str:
    """A ratio of two costs: `1.26`."""
    return _digits(ratio, 2)


def percent(share: float) -> str:
    """A share of a gap as a whole percentage, without its sign: `72`."""
    return _digits(100 * share, 0)


def unit_of(metric: str) -> str:
    """`%` for a share of the images, nothing for a value without a unit."""
    return "%" if metric in ("accuracy", "balanced_accuracy") else ""


# Where a spec is broken: between options, else behind an option's name, else within a name.
_BREAKS = (r"(?<=,)|(?=[+\[])", r"(?<==)", r"(?<=_)")


def _pieces(text: str, width: int, breaks: Sequence[str]) -> list[str]:
    if len(text) <= width or not breaks:
        return [text]
    return [piece for part in re.split(breaks[0], text) for piece in _pieces(part, width, breaks[1:])]


def broken(spec: str, width: int) -> str:
    """A spec with line breaks where they read best, for lines of `width` characters as far as that can be."""
    lines = [""]
    for piece in _pieces(spec, width, _BREAKS):
        if lines[-1] and len(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def fitted(text: str, width: int) -> str:
    """Text whose words have line breaks where they read best if they are longer than a line of `width` characters."""
    return re.sub(r"\S+", lambda word: broken(word[0], width) if len(word[0]) > width else word[0], text)


def short_names(spec: str, against: str) -> tuple[str, str]:
    """Column heads for two specs: without their options, unless nothing would tell them apart then."""
    heads = (without_options(spec), without_options(against))
    return heads if heads[0] != heads[1] else ("spec", "against")
