"""Tables of theory: the bounds of runs with their terms, and how measures of crowding rank runs beside probes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from dsabench.evaluators import CROWDING
from dsabench.report.table import Cell, Column, Interval, Measure, Number, Section, Table, grouped
from dsabench.report.wording import label
from dsabench.stats.correlations import RankCorrelation, over_specs, within_specs
from dsabench.tables.rows import Row

if TYPE_CHECKING:
    from dsabench.evaluation.theory import Finding

BOUND_COLUMNS = ("run_id", "spec", "seed", "dataset", "split", "n", "bound", "source")
TERMS = ("within", "between", "risk", "upper", "lower")


def bound_tables(found: Sequence[Finding]) -> list[Table]:
    """A table a run, one line a bound: its terms, the risk, the bounds, whether they hold and how loose they are."""
    columns = (
        Column("bound", "name"),
        *(Column(name, "number") for name in ("within", "between", "lower", "risk", "upper")),
        Column("holds", "text"),
        Column("upper / risk", "number"),
    )
    tables = []
    for run in grouped(found, attrgetter("run_id")).values():
        first = run[0]
        title = f"{first.spec} s{first.seed}, run {first.run_id}: {first.dataset}, {first.split} split"
        notes = (
            f"{first.n} images; within, between: the intra-class and the separation term",
            "bounds and their proofs: dsabench/metrics/bounds.py; intervals: --output FILE.csv",
        )
        tables.append(Table(title, columns, (Section(tuple(map(_line, run))),), notes))
    return tables


def _line(one: Finding) -> tuple[Cell, ...]:
    within, between, risk, upper, lower = one.estimate
    return (
        one.bound,
        Number(within),
        Number(between),
        Number(lower) if lower > float("-inf") else None,
        Number(risk),
        Number(upper),
        "yes" if one.holds else "no",
        Number(upper / risk) if risk else None,
    )


def bound_records(found: Sequence[Finding]) -> tuple[list[str], list[list[object]]]:
    """The header and the lines of a CSV file of bounds: every term with its interval."""
    header = [*BOUND_COLUMNS, *(f"{term}{end}" for term in TERMS for end in ("", "_low", "_high")), "holds"]
    lines: list[list[object]] = []
    for one in found:
        terms = [getattr(bound, term) for term in TERMS for bound in (one.estimate, one.low, one.high)]
        lines.append([*(getattr(one, name) for name in BOUND_COLUMNS), *terms, one.holds])
    return header, lines


@dataclass(frozen=True)
class Ranking:
    """How a measure of crowding ranks runs beside a probe, over all of them and within specs; of one data set, split
    and layer. `probe` and `metric` are rows of the two."""

    metric: Row
    probe: Row
    over: RankCorrelation
    within: RankCorrelation


def rankings(rows: Sequence[Row]) -> list[Ranking]:
    """Every metric of geometry with every accuracy, over the runs that have both."""
    return [one for place in grouped(rows, attrgetter("dataset", "split", "layer")).values() for one in _ranked(place)]


def _ranked(rows: Sequence[Row]) -> Iterator[Ranking]:
    usable = [row for row in rows if row.value is not None]
    measured = grouped(usable, attrgetter("probe", "metric", "probe_params"))
    probes = {key: group for key, group in measured.items() if key[0] != CROWDING and key[1] == "accuracy"}
    for probe in probes.values():
        accuracy = {row.run_id: row.value for row in probe}
        for key, metric in measured.items():
            both = [row for row in metric if row.run_id in accuracy]
            if key[0] != CROWDING or len(both) < 2:
                continue
            x, y = [float(row.value or 0.0) for row in both], [float(accuracy[row.run_id] or 0.0) for row in both]
            specs = [row.spec for row in both]
            yield Ranking(metric[0], probe[0], over_specs(x, y, specs), within_specs(x, y, specs))


def ranking_tables(found: Sequence[Ranking]) -> list[Table]:
    """A table a probe: one line a metric, the strongest first."""
    columns = (
        Column("metric", "text"),
        Column("rho over", "number"),
        Column("95% interval", "interval"),
        Column("rho within", "number"),
        Column("95% interval", "interval"),
    )
    tables = []
    for place in grouped(found, lambda one: (one.probe.dataset, one.probe.layer, _name(one.probe))).values():
        first = place[0]
        ordered = sorted(place, key=lambda one: -abs(one.over.rho) if one.over.rho == one.over.rho else 1.0)
        lines = tuple(
            (
                Measure(_name(one.metric), "", one.metric.higher_is_better),
                *_cells(one.over),
                *_cells(one.within),
            )
            for one in ordered
        )
        title = f"what ranks runs as {_name(first.probe)} does: {first.probe.dataset}, {first.probe.layer}"
        notes = (
            f"Spearman's rho over {first.over.n} runs of {first.over.groups} specs, and within specs "
            f"({first.within.n} runs of {first.within.groups}); intervals resample specs, and runs within them",
        )
        tables.append(Table(title, columns, (Section(lines),), notes))
    return tables


def _cells(one: RankCorrelation) -> tuple[Cell, Cell]:
    if one.rho != one.rho:
        return None, None
    return Number(one.rho), Interval(one.low, one.high, "", 1.0)


def _name(row: Row) -> str:
    return label(row.probe, row.probe_params, row.metric)


def ranking_records(found: Sequence[Ranking]) -> tuple[list[str], list[list[object]]]:
    """The header and the lines of a CSV file of rank correlations."""
    header = ["dataset", "split", "layer", "metric", "higher_is_better", "probe", "probe_params", "kind"]
    header += ["rho", "low", "high", "n", "specs"]
    lines: list[list[object]] = []
    for one in found:
        for kind, rho in (("over", one.over), ("within", one.within)):
            place = [one.probe.dataset, one.probe.split, one.probe.layer, one.metric.metric]
            about = [one.metric.higher_is_better, one.probe.probe, one.probe.probe_params, kind]
            lines.append([*place, *about, rho.rho, rho.low, rho.high, rho.n, rho.groups])
    return header, lines
