"""Paired comparisons as tables, as sentences and as a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from dsabench.files import write_atomic
from dsabench.report.layout import Marks, grouped, new_table, print_titled
from dsabench.report.wording import Scale, broken, label, p_text, short_names
from dsabench.tables.rows import csv_text

if TYPE_CHECKING:
    # SciPy comes with it, and a listing must not wait for that.
    from dsabench.stats import Comparison

_STYLES = {"better": "bold green", "worse": "bold red", "too few": "yellow", "not shown": "dim"}
_ROLES = ("primary", "secondary", "descriptive")


def print_comparisons(console: Console, comparisons: Sequence[Comparison], *, limit: int | None = None) -> None:
    """Print a table for each pair of specs, the primary metric first; `limit` bounds its secondary metrics.

    Those left out are counted below the table and stay in the Holm family, so that a limit changes no p.
    """
    for pair in grouped(comparisons, attrgetter("spec", "against")).values():
        _print_pair(console, sorted(pair, key=lambda comparison: _ROLES.index(comparison.role)), limit)


def _print_pair(console: Console, pair: Sequence[Comparison], limit: int | None) -> None:
    marks, first = Marks.of(console), pair[0]
    counts = sorted({comparison.n_seeds for comparison in pair})
    seeds = _seeds(counts[0]) if len(counts) == 1 else f"{counts[0]} to {_seeds(counts[-1])}"
    table = new_table()
    table.add_column("metric", overflow="fold")
    for head in reversed(short_names(first.spec, first.against)):
        table.add_column(Text(broken(head, 9)), justify="right", max_width=12, overflow="fold")
    for name in ("diff.", "95% interval", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)

    secondary = [comparison for comparison in pair if comparison.role == "secondary"]
    hidden = set() if limit is None else {comparison.key for comparison in secondary[limit:]}
    shown = [comparison for comparison in pair if comparison.key not in hidden]
    for (role, layer), group in grouped(shown, lambda comparison: (comparison.role, comparison.key.layer)).items():
        table.add_row(Text(f"{role}, {layer}", style="italic cyan"))
        for comparison in group:
            table.add_row(*_cells(comparison, marks), style="bold" if role == "primary" else "")
    title = f"{first.spec} against {first.against}: {seeds}, paired"
    print_titled(console, title, table, _notes(pair, len(hidden), marks))


def _cells(comparison: Comparison, marks: Marks) -> list[Text]:
    key, mark = comparison.key, _mark(comparison)
    scale = Scale.of(key.metric, comparison.mean_against, comparison.mean)
    unit = "% " if key.metric == "accuracy" else ""
    name = f"{label(key.probe, key.params, key.metric)} {unit}{marks.direction(comparison.higher_is_better)}"
    texts = (
        name.rstrip(),
        scale.text(comparison.mean_against),
        scale.text(comparison.mean),
        scale.text(comparison.difference, "+"),
        scale.interval(comparison.low, comparison.high),
        p_text({"primary": comparison.p, "secondary": comparison.p_holm}.get(comparison.role)),
    )
    return [*map(Text, texts), Text(mark, style=_STYLES.get(mark, ""))]


def _mark(comparison: Comparison) -> str:
    if comparison.role == "descriptive" or comparison.verdict in ("better", "worse"):
        return comparison.verdict
    return "not shown" if comparison.can_reach_05 else "too few"


def _notes(pair: Sequence[Comparison], n_hidden: int, marks: Marks) -> list[str]:
    notes = [f"{marks.up} higher, {marks.down} lower is better; interval and p: exact sign-flip test"]
    for primary in (comparison for comparison in pair if comparison.role == "primary"):
        scale = Scale.of(primary.key.metric, primary.mean_against, primary.mean)
        notes.append(f"primary: Student's 95% interval {scale.interval(primary.t_low, primary.t_high)}")
        if primary.gap_closed is not None:
            notes.append(f"primary: closes {primary.gap_closed:.0%} of the gap to supervised training")
        if not primary.can_reach_05:
            notes.append(f"primary: cannot reach .05 with {_seeds(primary.n_seeds)}")
    family = [comparison for comparison in pair if comparison.role == "secondary"]
    adjusted = sum(comparison.p_holm is not None for comparison in family)
    if adjusted:
        notes.append(f"secondary: p adjusted by Holm over {adjusted} secondary metrics, intervals not adjusted")
    for n_seeds, stuck in grouped((c for c in family if not c.can_reach_05), attrgetter("n_seeds")).items():
        which = "none of them can" if len(stuck) == len(family) else f"{len(stuck)} of them cannot"
        notes.append(f"secondary: {which} reach .05 with {_seeds(n_seeds)}, whatever the values")
    if n_hidden:
        notes.append(f"secondary: {n_hidden} more not shown here, counted by Holm all the same")
    return notes


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


def finding(comparisons: Iterable[Comparison], *, cost_ratio: Mapping[tuple[str, str], float] | None = None) -> str:
    """One sentence a pair, a line each, on what the primary metric shows; empty where there is none.

    `cost_ratio[spec, against]` is the wall time of a run of `spec` in runs of `against`.
    """
    ratios = cost_ratio or {}
    sentences = []
    for comparison in comparisons:
        if comparison.role == "primary":
            ratio = ratios.get((comparison.spec, comparison.against))
            cost = "" if ratio is None else f" A run takes {ratio:.2f} times as long."
            sentences.append(_sentence(comparison) + cost)
    return "\n".join(sentences)


def _sentence(comparison: Comparison) -> str:
    key = comparison.key
    scale = Scale.of(key.metric, comparison.mean_against, comparison.mean)
    is_accuracy = key.metric == "accuracy"
    metric = f"{label(key.probe, key.params, key.metric)} accuracy" if is_accuracy else key.metric.replace("_", " ")
    metric += f" ({key.layer})" if key.layer != "backbone" else ""
    percent, points = ("%", " points") if is_accuracy else ("", "")
    means = f"{scale.text(comparison.mean_against)}{percent} -> {scale.text(comparison.mean)}{percent}"
    p = "p < .001" if comparison.p < 0.001 else f"p = {p_text(comparison.p)}"
    test = f"exact 95% interval {scale.interval(comparison.low, comparison.high)}{points}, {p}"
    seeds = _seeds(comparison.n_seeds)
    if comparison.verdict in ("better", "worse"):
        verb = "lowers" if comparison.difference < 0 else "raises"
        change = f"{scale.text(abs(comparison.difference))}{points}"
        return (
            f"{comparison.spec} {verb} {metric} against {comparison.against} by {change} "
            f"({means}; {test}, {seeds}): {comparison.verdict}."
        )
    change = f"difference {scale.text(comparison.difference, '+')}{points}"
    outcome = f"{comparison.verdict}: {comparison.spec} against {comparison.against} on {metric} ({means}; {change}; "
    return outcome + (f"{test}, {seeds})." if comparison.can_reach_05 else f"{seeds} cannot reach p < .05).")


def per_image(p_values: Mapping[tuple[str, str], Sequence[float]]) -> str:
    """A line a pair on McNemar's test of the kNN answers, seed by seed; empty where there is none."""
    lines = []
    for (spec, against), values in p_values.items():
        if values:
            listed = ", ".join(p_text(value) for value in values)
            low = sum(value < 0.05 for value in values)
            lines.append(f"{spec} against {against}: p < .05 in {low} of {_seeds(len(values))} ({listed})")
    if not lines:
        return ""
    return "\n".join(["McNemar on the kNN answers, image by image (images are not seeds: no verdict):", *lines])


def write_summary(comparisons: Iterable[Comparison], path: Path, *, extra: Mapping[str, str]) -> None:
    """Write every field of the comparisons as CSV, after the columns of `extra` (such as `dataset`, `split`).

    Accuracies are fractions, infinite ends `-inf` and `inf`. Raises StorageError where it cannot be written.
    """
    from dsabench.stats import Comparison

    columns = [field.name for field in fields(Comparison)]
    place = columns.index("key")
    header = [*extra, *columns[:place], "layer", "probe", "probe_params", "metric", *columns[place + 1 :]]
    records = []
    for comparison in comparisons:
        cells = [getattr(comparison, column) for column in columns]
        records.append([*extra.values(), *cells[:place], *comparison.key, *cells[place + 1 :]])
    write_atomic(path, csv_text(header, records))
