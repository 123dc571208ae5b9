"""The committed tables: the rows of `results/NAME.csv`, and what today's code says of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

from dsabench.report.effects import Effect, effects
from dsabench.report.overview import mean_of
from dsabench.report.table import Cell, Column, Mean, Section, Table
from dsabench.report.wording import label, unit_of
from dsabench.stats import Comparison, MetricKey
from dsabench.tables.comparisons import compare_rows, key_of
from dsabench.tables.criteria import GUARDS, Criteria, parse_guard, parse_primary
from dsabench.tables.rows import Row, read_csv

RESULTS = Path(__file__).parents[1] / "results"
CRITERIA = Criteria(parse_primary("cdnv"), tuple(map(parse_guard, GUARDS)))
# The column of what a line is about, where the text says what that is.
NAME = Column("", "text")


@dataclass(frozen=True)
class Committed:
    """The table `name`, compared under the criteria that every committed comparison declared: the defaults."""

    name: str

    @property
    def summary(self) -> Path:
        """Where its comparisons are."""
        return RESULTS / f"{self.name}-summary.csv"

    @cached_property
    def rows(self) -> list[Row]:
        """Its rows."""
        return read_csv(RESULTS / f"{self.name}.csv")

    @cached_property
    def specs(self) -> list[str]:
        """Its arms, in order."""
        return list(dict.fromkeys(row.spec for row in self.rows))

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Its comparisons; an interval over test images, which needs their features, is the one that was measured."""
        found = compare_rows(self.rows, self.specs, CRITERIA, "backbone")
        known = (self._images.get((one.spec, one.against, one.key), (None, None)) for one in found)
        return [replace(one, images_low=low, images_high=high) for one, (low, high) in zip(found, known, strict=True)]

    @cached_property
    def _images(self) -> dict[tuple[str, str, MetricKey], tuple[float, float]]:
        with self.summary.open(encoding="utf-8", newline="") as file:
            written = [one for one in csv.DictReader(file) if one.get("images_low")]
        keys = (MetricKey(one["layer"], one["probe"], one["probe_params"], one["metric"]) for one in written)
        return {
            (one["spec"], one["against"], key): (float(one["images_low"]), float(one["images_high"]))
            for one, key in zip(written, keys, strict=True)
        }

    @cached_property
    def effects(self) -> list[Effect]:
        """The comparisons as tables show them."""
        return effects(self.comparisons)

    def mean(self, spec: str, metric: str, layer: str = "backbone") -> Mean:
        """Mean and deviation over seeds of a metric, under its name in tables."""
        found = [row for row in self.rows if (row.spec, row.layer, named(key_of(row))) == (spec, layer, metric)]
        values = [row.value for row in found if row.value is not None]
        return mean_of(values, unit_of(found[0].metric))

    def effect(self, spec: str, against: str, metric: str) -> Effect:
        """What an arm does to a metric of another, on the backbone."""
        pair = (spec, against, "backbone", metric)
        return next(one for one in self.effects if (one.spec, one.against, one.layer, one.measure.label) == pair)

    def p(self, spec: str, against: str) -> float:
        """The p of the primary metric in a comparison of its own, without Holm."""
        pair = (spec, against, "primary")
        return next(one.p for one in self.comparisons if (one.spec, one.against, one.role) == pair)


def named(key: MetricKey) -> str:
    """What tables call a metric."""
    return label(key.probe, key.params, key.metric)


@cache
def committed(name: str) -> Committed:
    """The table of that name, read once."""
    return Committed(name)


def records(name: str) -> list[dict[str, str]]:
    """The lines of `results/NAME.csv`, a table that is not one of rows."""
    with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plain_table(heads: Sequence[Column], lines: Sequence[Sequence[Cell]]) -> Table:
    """A table without title and notes."""
    return Table("", tuple(heads), (Section(tuple(map(tuple, lines))),))


def tables() -> Sequence[str]:
    """The tidy tables of rows."""
    return [path.stem for path in sorted(RESULTS.glob("*.csv")) if _of_rows(path)]


def _of_rows(path: Path) -> bool:
    with path.open(encoding="utf-8", newline="") as file:
        return {"run_id", "probe", "metric", "value"} <= {*next(csv.reader(file), ())}


def summarised() -> Sequence[str]:
    """The tables that have a summary."""
    return sorted(path.name.removesuffix("-summary.csv") for path in RESULTS.glob("*-summary.csv"))
