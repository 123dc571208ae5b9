"""What a chapter is made from: the rows of one tidy table and all that follows from them, computed once."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from dsabench.config.spec import brief_names, parse_spec
from dsabench.errors import DataError, NothingToCompare, UsageError
from dsabench.files import sha256_file
from dsabench.report.effects import Effect, effects
from dsabench.report.table import grouped
from dsabench.stats import Comparison, MetricKey
from dsabench.tables.budget import budgets, expected_best
from dsabench.tables.comparisons import compare_rows, cost_ratios, key_of, own_plain
from dsabench.tables.criteria import Criteria
from dsabench.tables.rows import Row, check_unique, read_csv

Values = Mapping[str, Mapping[MetricKey, Mapping[int, float]]]


class Search(NamedTuple):
    """What a search of one arm came to: the value of every trial in order, None for one that failed.

    `crowding` is their CDNV on the same split, None where it was not measured.
    """

    arm: str
    values: tuple[float | None, ...]
    crowding: tuple[float | None, ...]

    def points(self) -> tuple[tuple[float, float], ...]:
        """(CDNV, value) of the trials that have both."""
        pairs = zip(self.crowding, self.values, strict=True)
        return tuple((x, y) for x, y in pairs if x is not None and y is not None)

    def expected(self) -> dict[int, float]:
        """The best value to be expected after 1, 2, 4, ... trials; a failed one is worth 0."""
        known = [value or 0.0 for value in self.values]
        return {draws: expected_best(known, draws) for draws in budgets(len(known))}


@dataclass(frozen=True, eq=False)
class Material:
    """The `rows` of one table, what they are judged by, and what a search left beside them.

    `name` is a slug for anchors and files, `title` for people, `source` the words that name the table in a command,
    `sha256` that of its file, if it is one.
    """

    name: str
    title: str
    source: str
    rows: tuple[Row, ...]
    criteria: Criteria
    searches: tuple[Search, ...] = ()
    sha256: str = ""

    @cached_property
    def layer(self) -> str:
        """The layer that verdicts are on: the backbone, or what there is instead."""
        layers = [row.layer for row in self.rows if row.layer]
        return "backbone" if "backbone" in layers or not layers else layers[0]

    @cached_property
    def specs(self) -> tuple[str, ...]:
        """The arms, the baseline first."""
        return tuple(dict.fromkeys(row.spec for row in self.rows))

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What figures call each arm: its spec without options, where these tell no two arms apart."""
        return brief_names(self.specs)

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({row.seed for row in self.rows}))

    @cached_property
    def values(self) -> Values:
        """The finite values of each arm by what they measure and seed."""
        found: dict[str, dict[MetricKey, dict[int, float]]] = {}
        for row in self.rows:
            if row.value is not None and math.isfinite(row.value) and row.status != "failed":
                found.setdefault(row.spec, {}).setdefault(key_of(row), {})[row.seed] = row.value
        return found

    @cached_property
    def directions(self) -> Mapping[MetricKey, bool | None]:
        """Everything that was measured, with its better direction."""
        return {key_of(row): row.higher_is_better for row in self.rows if row.probe and row.status != "failed"}

    @cached_property
    def _judged(self) -> tuple[list[Comparison], str]:
        try:
            return compare_rows(self.rows, self.specs, self.criteria, self.layer), ""
        except (NothingToCompare, UsageError) as error:
            return [], str(error)

    @property
    def comparisons(self) -> list[Comparison]:
        """All paired comparisons; empty where there is an obstacle."""
        return self._judged[0]

    @property
    def obstacle(self) -> str:
        """Why nothing can be compared; empty where something can."""
        return self._judged[1]

    @cached_property
    def effects(self) -> list[Effect]:
        """The comparisons in numbers and words."""
        return effects(self.comparisons)

    @cached_property
    def ratios(self) -> Mapping[tuple[str, str], float]:
        """How many times the training time of the other arm each arm took, whenever their runs were."""
        return cost_ratios(self.rows, self.comparisons, {row.run_id for row in self.rows})

    @cached_property
    def primaries(self) -> list[Effect]:
        return [one for one in self.effects if one.role == "primary"]

    @cached_property
    def primary_key(self) -> MetricKey | None:
        return self.criteria.primary.among(self.directions, self.layer)

    @cached_property
    def own_pairs(self) -> list[tuple[str, str]]:
        """(arm, against) of every regularized arm and its own plain method, in order."""
        try:
            parsed = [parse_spec(spec) for spec in self.specs]
        except UsageError:
            return []
        found = [(str(spec), str(plain)) for spec in parsed if (plain := own_plain(spec, parsed)) is not None]
        compared = {(one.spec, one.against) for one in self.comparisons}
        return [pair for pair in found if pair in compared]

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Every pair that was compared, those of a regularized arm and its own plain method first."""
        compared = dict.fromkeys((one.spec, one.against) for one in self.comparisons)
        return [*self.own_pairs, *(pair for pair in compared if pair not in self.own_pairs)]


def material_of(path: Path, criteria: Criteria) -> Material:
    """What a tidy table holds, with the trials beside it; raises DataError where it is no such table, or empty."""
    rows = tuple(read_csv(path))
    if not rows:
        raise DataError(f"{path} has no rows: there is nothing to report")
    check_unique(rows)
    titles = ", ".join(dict.fromkeys(row.dataset for row in rows))
    return Material(
        anchor(path.stem),
        f"{path.stem}: {titles}",
        str(path),
        rows,
        criteria,
        read_searches(path.with_suffix("")),
        sha256_file(path),
    )


def anchor(text: str) -> str:
    """Text as an identifier of the page."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower() or "table"


def read_searches(name: Path) -> tuple[Search, ...]:
    """The trials in NAME-trials.csv, as `write_trials` left them; none where there is no such file.

    Raises DataError where it is damaged.
    """
    path = name.with_name(f"{name.name}-trials.csv")
    if not path.exists():
        return ()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            trials = [(line["arm"], _number(line["value"]), _number(line.get("cdnv"))) for line in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError) as error:
        raise DataError(f"{path} is no table of trials ({error}); move it away, or run tune again") from error
    arms = grouped(trials, lambda trial: trial[0])
    return tuple(
        Search(arm, tuple(value for _, value, _ in found), tuple(cdnv for _, _, cdnv in found))
        for arm, found in arms.items()
    )


def _number(cell: str | None) -> float | None:
    return float(cell) if cell else None


def runs_of(rows: Sequence[Row]) -> dict[tuple[str, int], str]:
    """The run of each arm and seed."""
    return {(row.spec, row.seed): row.run_id for row in rows}
