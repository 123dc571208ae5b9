"""Images that a table names: `csv:FILE` with the columns path and label, and split where it says so."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import DatasetSpec, Files, RawDataset
from dsabench.data.sources.roles import ROLES, arranged
from dsabench.errors import DataError, UsageError, several

LAYOUT = "expected a first line path,label or path,label,split"


def build(config: DataConfig, offline: bool) -> RawDataset:
    """The images of a CSV file; paths are relative to --data-dir, or to the folder of the file.

    Raises UsageError without a file, DataError where columns, labels or images are missing.
    """
    if not config.place:
        raise UsageError("name the table of your images: --dataset csv:FILE")
    file = Path(config.place)
    root = Path(config.folder) if config.folder else file.parent
    rows = _rows(file)
    missing = [path for path, _, _ in rows if not (root / path).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(rows)} images that {file} names are not in {root}:\n  {several(missing)}"
        )
    rows.sort()
    repeated = next((one[0] for one, other in pairwise(rows) if one[0] == other[0]), None)
    if repeated is not None:
        raise DataError(f"{file} names {repeated!r} more than once; an image has one label and one split")
    paths, labels, roles = zip(*rows, strict=True)
    return arranged(Files(root, paths), labels, roles, source=str(file))


def _rows(file: Path) -> list[tuple[str, str, str]]:
    """Path, label and role of every line."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            table = csv.DictReader(opened)
            columns = [name.strip() for name in table.fieldnames or ()]
            if not {"path", "label"} <= set(columns):
                raise DataError(f"{file} has the columns {', '.join(columns) or 'none'}; {LAYOUT}")
            table.fieldnames = columns
            found = []
            for line, row in enumerate(table, start=2):
                path, label = (row["path"] or "").strip(), (row["label"] or "").strip()
                role = (row.get("split") or "train").strip().lower()
                if not path or not label:
                    raise DataError(f"{file}, line {line}: path or label is empty")
                if role not in ROLES:
                    raise DataError(f"{file}, line {line}: the split {role!r} is none of {', '.join(ROLES)}")
                found.append((Path(path).as_posix(), label, ROLES[role]))
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is no CSV file in UTF-8: {error}") from error
    if not found:
        raise DataError(f"{file} names no image; {LAYOUT}")
    return found


SPEC = DatasetSpec(
    name="csv",
    builder=build,
    channels=3,
    image_size=None,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
