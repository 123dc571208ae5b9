"""What would be lost if a table were written over another one of the same name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsabench.config.run_config import RunConfig
from dsabench.config.spec import Part
from dsabench.errors import UsageError
from dsabench.evaluators import CROWDING
from dsabench.tables.rows import Row, read_csv


@dataclass(frozen=True)
class Contents:
    """What a table will hold: runs, and what is measured of them (with all options) on which layers and split."""

    planned: Sequence[RunConfig]
    measured: Sequence[Part]
    layers: Sequence[str]
    split: str

    def lost(self, rows: Iterable[Row]) -> list[str]:
        """What these rows have and this table will not, in words: `the seeds 4, 5`, `the probe linear`."""
        runs = [(str(one.spec), one.seed) for one in self.planned]
        kinds: list[tuple[str, Callable[[Row], object], Callable[[Row], bool]]] = [
            ("data set", lambda row: row.dataset, lambda row: row.dataset in {one.data.label for one in self.planned}),
            ("split", lambda row: row.split, lambda row: row.split == self.split),
            ("spec", lambda row: row.spec, lambda row: row.spec in {spec for spec, _ in runs}),
            ("seed", lambda row: row.seed, lambda row: row.seed in {seed for _, seed in runs}),
            ("backbone", lambda row: row.backbone, lambda row: row.backbone in {one.backbone for one in self.planned}),
            (
                "number of epochs",
                lambda row: row.epochs,
                lambda row: row.epochs in {one.epochs for one in self.planned},
            ),
            ("layer", lambda row: row.layer, lambda row: not row.layer or row.layer in self.layers),
            ("probe", evaluator, lambda row: not row.probe or any(measures(part, row) for part in self.measured)),
        ]
        found = []
        for kind, of, kept in kinds:
            values = list(dict.fromkeys(str(of(row)) for row in rows if not kept(row)))
            if values:
                found.append(f"the {kind}{'s' * (len(values) > 1)} {', '.join(values)}")
        return found


def evaluator(row: Row) -> str:
    """The probe or metric that a row is of."""
    return row.metric if row.probe == CROWDING else row.probe


def measures(part: Part, row: Row) -> bool:
    """Whether a probe or metric with these options is what a row is of."""
    options = json.loads(row.probe_params or "{}")
    return part.name == evaluator(row) and all(options.get(key, value) == value for key, value in part.options.items())


def check_replaceable(path: Path, contents: Contents) -> None:
    """Raise UsageError where a table is there already that holds what the new one will not; DataError for no table."""
    if not path.exists():
        return
    if lost := contents.lost(read_csv(path)):
        raise UsageError(
            f"{path} is there and has what the new table will not: {'; '.join(lost)}; name another --output, or "
            "give --overwrite tables"
        )
