"""Paired comparisons as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dsabench.report.effects import Effect, effects
from dsabench.report.table import PValue
from dsabench.report.wording import counted, written

if TYPE_CHECKING:
    from dsabench.stats import Comparison


def finding(comparisons: Sequence[Comparison], *, cost_ratio: Mapping[tuple[str, str], float] | None = None) -> str:
    """One sentence a pair, a line each, on what the primary metric shows; empty where there is none.

    `cost_ratio[spec, against]` is the wall time of a run of `spec` in runs of `against`.
    """
    ratios = cost_ratio or {}
    sentences = []
    for primary in (one for one in effects(comparisons) if one.role == "primary"):
        ratio = ratios.get((primary.spec, primary.against))
        cost = "" if ratio is None else f" A run takes {ratio:.2f} times as long."
        sentences.append(_sentence(primary) + cost)
    return "\n".join(sentences)


def _sentence(primary: Effect) -> str:
    metric = primary.metric + (f" ({primary.layer})" if primary.layer != "backbone" else "")
    percent, points = ("%", " points") if primary.measure.unit == "%" else ("", "")
    means = f"{written(primary.before)}{percent} -> {written(primary.after)}{percent}"
    test = f"exact 95% interval {written(primary.interval)}{points}, {_p_is(primary.p)}"
    seeds = counted(primary.n_seeds, "seed")
    difference = written(primary.difference)
    if primary.word in ("better", "worse"):
        verb = "lowers" if primary.difference.value < 0 else "raises"
        change = f"{difference.lstrip('+-')}{points}"
        return (
            f"{primary.spec} {verb} {metric} against {primary.against} by {change} "
            f"({means}; {test}, {seeds}): {primary.word}."
        )
    word = {"too few": "too few seeds", "not shown": "no difference shown"}.get(primary.word, primary.word)
    told = f"{word}: {primary.spec} against {primary.against} on {metric} ({means}; difference {difference}{points}; "
    if primary.reachable:
        return f"{told}{test}, {seeds})."
    would_do = f", {primary.would_do} would do" if primary.would_do else ""
    return f"{told}{seeds} cannot reach .05{would_do})."


def _p_is(p: PValue | None) -> str:
    text = written(p)
    return f"p < {text.lstrip('<')}" if text.startswith("<") else f"p = {text}"


def per_image(p_values: Mapping[tuple[str, str], Sequence[float]]) -> str:
    """A line a pair on McNemar's test of the kNN answers, seed by seed; empty where there is none."""
    lines = []
    for (spec, against), values in p_values.items():
        if values:
            listed = ", ".join(written(PValue(value)) for value in values)
            low = sum(value < 0.05 for value in values)
            lines.append(f"{spec} against {against}: p < .05 in {low} of {counted(len(values), 'seed')} ({listed})")
    if not lines:
        return ""
    return "\n".join(["McNemar on the kNN answers, image by image (images are not seeds: no verdict):", *lines])
