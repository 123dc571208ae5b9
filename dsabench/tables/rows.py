"""The tidy table: `Row` is one value of one run, and a CSV file is a list of them."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from dsabench.config.eval_config import ADJUST
from dsabench.config.renames import (
    adjusted_only_if_said,
    drawn_if_not_said,
    in_regularizer,
    renamed_and_respelled,
    respelled,
)
from dsabench.errors import DataError, UsageError
from dsabench.files import write_atomic
from dsabench.regularizers import BY

SCHEMA_VERSION = 8
# Rows from this schema on mean the same, but for names of regularizers before 5, defaults of `dsa` before 6, 7 and 8,
# and the layer `adjust` before 8.
_ONE_MEANING_SINCE = 3
_REGULARIZERS = {5: respelled, 6: adjusted_only_if_said, 7: drawn_if_not_said}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one probe on one layer, split, data set and run; None where a value does not exist.

    Units are in the names: seconds (`_s`), megabytes (`_mb`). `results/README.md` defines every column.
    """

    schema_version: int
    run_id: str
    method: str
    regularizer: str
    backbone: str
    seed: int
    dataset: str
    dataset_sha256: str
    split: str
    n: int | None
    layer: str
    probe: str
    probe_version: str
    probe_params: str
    metric: str
    value: float | None
    higher_is_better: bool | None
    status: str
    epochs: int
    images_seen: int
    wall_s: float | None
    images_per_s: float | None
    peak_mem_mb: float | None
    config_hash: str
    git_sha: str
    git_dirty: bool | None
    dsabench_version: str
    torch_version: str
    device: str
    n_devices: int
    precision: str
    threads: int
    deterministic: bool
    augment: str
    prior: str
    labels_used: str
    started_utc: str
    capability: str = ""
    blas: str = ""
    eval_device: str = ""
    trained_on: str = ""
    preprocess: str = ""
    tuning: str = ""
    batch_size: int | None = None
    train_images: int | None = None
    image_size: int | None = None
    lr: float | None = None
    similar_precision: float | None = None
    note: str = ""

    @property
    def spec(self) -> str:
        """`simclr` for a plain method, `simclr+dsa` for a regularized one."""
        return self.method if self.regularizer == "none" else f"{self.method}+{self.regularizer}"


_FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Row))
# A table says the spec in one word too.
COLUMNS: tuple[str, ...] = (*_FIELDS, "spec")
# Schema 2 ended with `started_utc`, schema 3 with `note`; what came later is empty in their rows.
_EARLIER = {_FIELDS[: _FIELDS.index(last) + 1]: version for last, version in (("started_utc", 2), ("note", 3))}
_OLDEST = min(_EARLIER.values())
KEY = ("run_id", "dataset", "split", "layer", "probe", "probe_params", "metric")
_COST = ("epochs", "images_seen", "wall_s", "images_per_s", "peak_mem_mb")
_INCIDENTAL = frozenset((*_COST, "git_sha", "git_dirty", "started_utc"))
_COMPARABLE = tuple(name for name in _FIELDS if name not in _INCIDENTAL)
_TYPES: dict[str, Any] = {**get_type_hints(Row), "spec": str}

# A spreadsheet would run such a cell as a formula. Quotes before it are doubled up on, so that reading is exact.
_RISKY = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def check_unique(rows: Iterable[Row]) -> None:
    """Raise DataError where two rows hold the same value (`KEY`) of the same run."""
    repeated = [key for key, count in Counter(map(attrgetter(*KEY), rows)).items() if count > 1]
    if repeated:
        where = ", ".join(f"{name}={part}" for name, part in zip(KEY, repeated[0], strict=True))
        raise DataError(f"{len(repeated)} value(s) appear more than once, the first is {where}; keep one row of each")


def comparable(row: Row) -> tuple[object, ...]:
    """What must agree for two runs to be equal: all but cost, `git_*` and `started_utc`; nan equals nan."""
    values = (getattr(row, name) for name in _COMPARABLE)
    return tuple("nan" if value != value else value for value in values)


def record(row: Row) -> dict[str, object]:
    """A row by column, as it stands in a table."""
    return {name: getattr(row, name) for name in COLUMNS}


def cell(value: object) -> str:
    """One CSV cell, unquoted: None is empty, floats are the shortest text that reads back, `; ` parts a tuple."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, tuple):
        return cell("; ".join(map(str, value)))
    text = str(value)
    return f"'{text}" if isinstance(value, str) and _RISKY.match(text) else text


def csv_text(header: Sequence[str], records: Iterable[Iterable[object]]) -> str:
    """A whole CSV file as text, with "\\n" line ends."""
    # Not csv.writer: before Python 3.13 it leaves a bare carriage return unquoted and then cannot read it back.
    lines = [header, *([cell(value) for value in record] for record in records)]
    return "".join(",".join(map(_quoted, line)) + "\n" for line in lines)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """Write rows in the order given, atomically; raises StorageError where the file cannot be written."""
    write_atomic(path, csv_text(COLUMNS, map(attrgetter(*COLUMNS), rows)))


def read_csv(path: Path) -> list[Row]:
    """Read what `write_csv` wrote, exactly; raises DataError where it is missing, damaged or of another schema."""
    try:
        text = path.read_bytes().decode()
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table of dsabench ({error}); rebuild it from the run store") from error
    header, *records = lines or [[]]
    columns = _check_schema(path, header, records)
    return [_parse(path, number, record, columns) for number, record in enumerate(records, start=1)]


def _check_schema(path: Path, header: list[str], records: list[list[str]]) -> tuple[str, ...]:
    """The columns of the file, of this schema or one before; raises DataError for any other.

    A row may be of an earlier schema than the columns: it came from a table of that one.
    """
    newest = _EARLIER.get(tuple(header), SCHEMA_VERSION)
    if header[:1] == ["schema_version"]:
        readable = {str(version) for version in range(_OLDEST, newest + 1)}
        for number, record in enumerate(records, start=1):
            if record and record[0] not in readable:
                known = "this dsabench" if newest == SCHEMA_VERSION else "a table of these columns"
                verb = "reads" if newest == SCHEMA_VERSION else "has"
                raise DataError(
                    f"{path}, row {number}, has schema_version {record[0]}, {known} {verb} {_OLDEST} to {newest}; "
                    "rebuild the table from the run store, or use the version of dsabench that wrote it"
                )
    if tuple(header) == COLUMNS or tuple(header) in _EARLIER:
        return tuple(header)
    if path.stem.endswith("-summary") and {"spec", "against"} <= set(header):
        table = path.with_name(f"{path.stem.removesuffix('-summary')}.csv")
        raise DataError(f"{path} is the summary of comparisons, not their table; give {table}")
    missing = [name for name in COLUMNS if name not in header]
    unexpected = [name for name in header if name not in COLUMNS]
    parts = [f"missing: {', '.join(missing)}"] if missing else []
    parts += [f"unexpected: {', '.join(unexpected)}"] if unexpected else []
    difference = "; ".join(parts) or "the same names in another order, or twice"
    raise DataError(f"{path} has other columns than a table of dsabench ({difference}); rebuild it from the run store")


def _parse(path: Path, number: int, record: list[str], columns: tuple[str, ...]) -> Row:
    where = f"{path}, row {number}"
    if len(record) != len(columns):
        raise DataError(f"{where} has {len(record)} cells instead of {len(columns)}; rebuild it from the run store")
    values: dict[str, Any] = {}
    for name, text in zip(columns, record, strict=True):
        try:
            values[name] = _value(_TYPES[name], text)
        except (ValueError, KeyError) as error:
            raise DataError(f"{where}: {name} cannot be {text!r}; rebuild the table from the run store") from error
    spec = values.pop("spec", None)
    row = Row(**values)
    if spec not in (None, row.spec):
        raise DataError(f"{where}: spec cannot be {spec!r} of {row.spec}; rebuild the table from the run store")
    try:
        return current(row)
    except UsageError as error:
        raise DataError(f"{where}: {error}; rebuild the table from the run store") from error


def current(row: Row) -> Row:
    """A row of an earlier schema under the names of this one.

    It has the number of this schema then, unless its values mean something else. Raises UsageError for a regularizer
    that is none, and for features that were adjusted by nobody knows what.
    """
    if row.schema_version == SCHEMA_VERSION:
        return row
    # A row of schema 2 keeps its number and may be read again: then there was no dsa-bank, which is called dsa now.
    version = SCHEMA_VERSION if row.schema_version >= _ONE_MEANING_SINCE else row.schema_version
    if row.layer.partition("[")[0] == ADJUST and "by=" not in row.layer:
        raise UsageError(f"the layer {row.layer} does not say what it was adjusted by, {' or '.join(BY)}")
    change = _REGULARIZERS.get(row.schema_version, renamed_and_respelled)
    return replace(row, schema_version=version, regularizer=in_regularizer(row.regularizer, change))


def _value(kind: Any, text: str) -> object:
    kinds = get_args(kind) or (kind,)
    if text == "" and NoneType in kinds:
        return None
    if kinds[0] is str:
        return text[1:] if _GUARDED.match(text) else text
    if kinds[0] is bool:
        return {"true": True, "false": False}[text]
    return kinds[0](text)
