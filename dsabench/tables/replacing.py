"""What would be lost if a table were written over another one of the same name."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsabench.config.run_config import RunConfig
from dsabench.config.spec import Part
from dsabench.errors import UsageError
from dsabench.evaluators import CROWDING
from dsabench.tables.rows import Row, read_csv


def evaluator(row: Row) -> str:
    """The probe or metric that a row is of."""
    return row.metric if row.probe == CROWDING else row.probe


# What tells the rows of one question from those of another, with the words for it.
_KINDS: Mapping[str, Callable[[Row], object]] = {
    "data set": lambda row: row.dataset,
    "split": lambda row: row.split,
    "spec": lambda row: row.spec,
    "seed": lambda row: row.seed,
    "backbone": lambda row: row.backbone,
    "number of epochs": lambda row: row.epochs,
    "layer": lambda row: row.layer,
    "probe": evaluator,
}


@dataclass(frozen=True)
class Contents:
    """What a table will hold: values of each kind, and `measured`, the probes and metrics with their options.

    None of `measured` is whatever the kind `probe` names, with any options.
    """

    values: Mapping[str, Collection[object]]
    measured: Sequence[Part] | None = None

    @classmethod
    def planned(
        cls, runs: Sequence[RunConfig], measured: Sequence[Part], layers: Sequence[Part], split: str
    ) -> Contents:
        """Those of runs that are planned, measured so."""
        values: dict[str, Collection[object]] = {
            "data set": {one.data.label for one in runs},
            "split": {split},
            "spec": {str(one.spec) for one in runs},
            "seed": {one.seed for one in runs},
            "backbone": {one.backbone for one in runs},
            "number of epochs": {one.epochs for one in runs},
            # A failed run has one row without a layer and a probe.
            "layer": {"", *map(str, layers)},
            "probe": {"", *(part.name for part in measured)},
        }
        return cls(values, measured)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Contents:
        """Those of rows that are there."""
        found = list(rows)
        return cls({kind: {value(row) for row in found} | {""} for kind, value in _KINDS.items()})

    def lost(self, rows: Iterable[Row]) -> list[str]:
        """What these rows have and this table will not, in words: `the seeds 4, 5`, `the probe linear`."""
        lost: dict[str, dict[str, None]] = {}
        for row in rows:
            for kind, value in _KINDS.items():
                if value(row) not in self.values[kind] or (kind == "probe" and not self.measures(row)):
                    lost.setdefault(kind, {})[str(value(row))] = None
        return [f"the {kind}{'s' * (len(lost[kind]) > 1)} {', '.join(lost[kind])}" for kind in _KINDS if kind in lost]

    def measures(self, row: Row) -> bool:
        """Whether what a row is of is measured with the same options."""
        options = json.loads(row.probe_params or "{}")
        alike = [part.options for part in self.measured or () if part.name == evaluator(row)]
        return not alike or any(all(options.get(key, own[key]) == own[key] for key in own) for own in alike)


def check_replaceable(path: Path, contents: Contents) -> None:
    """Raise UsageError where a table is there already that holds what the new one will not; DataError for no table."""
    if not path.exists():
        return
    rows = read_csv(path)
    if lost := contents.lost(rows):
        seeds = ", ".join(map(str, sorted({row.seed for row in rows})))
        raise UsageError(
            f"{path} is there and has what the new table will not: {'; '.join(lost)} (its seeds are {seeds}); name "
            "another --output, or give --overwrite tables"
        )
