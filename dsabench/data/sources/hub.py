"""Sets of the Hugging Face Hub, or folders in its formats: `hf:NAME`, through the package datasets (extra hf)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import DatasetSpec, RawDataset
from dsabench.data.sources.roles import ROLES, arranged
from dsabench.errors import DataError, UsageError

OPTIONS = ("image", "label", "config", "revision")
USUAL_LABELS = ("label", "labels", "fine_label", "class", "category", "target")


@dataclass(frozen=True)
class HubImages:
    """Images in the columns of tables on disk, which are mapped and not read until an image is."""

    tables: tuple[Any, ...]
    column: str
    # The table and the row of each image.
    places: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.places)

    def take(self, index: Tensor) -> HubImages:
        return HubImages(self.tables, self.column, tuple(self.places[i] for i in index.tolist()))

    def name(self, position: int) -> str:
        table, row = self.places[position]
        inner = self._cell(position)["path"]
        return f"{self.tables[table].split}/{row}" + (f"/{Path(inner).name}" if inner else "")

    def n_bytes(self, position: int) -> int:
        cell = self._cell(position)
        return len(cell["bytes"]) if cell["bytes"] is not None else Path(cell["path"]).stat().st_size

    def open(self, position: int) -> Path | BinaryIO:
        cell = self._cell(position)
        return BytesIO(cell["bytes"]) if cell["bytes"] is not None else Path(cell["path"])

    def where(self, position: int) -> str:
        table, row = self.places[position]
        return f"number {row} of the split {self.tables[table].split}"

    def _cell(self, position: int) -> Any:
        table, row = self.places[position]
        return self.tables[table][row][self.column]


def build(config: DataConfig, offline: bool) -> RawDataset:
    """The images of `hf:NAME`, or of `hf:NAME[image=COLUMN,label=COLUMN,config=...,revision=...]`.

    The image column is the one of that type, the label column one of class labels or of a usual name. No code that
    comes with a set is run. Raises UsageError without the extra or for a column that is not there, DataError where the
    set cannot be read or may not be downloaded.
    """
    name, options = parse(config.place)
    try:
        import datasets
    except ImportError as error:
        raise UsageError("hf:NAME needs the package datasets; pip install 'dsabench[hf]'") from error
    datasets.disable_progress_bars()
    known = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = known or offline
    try:
        found = datasets.load_dataset(name, options.get("config"), revision=options.get("revision"))
    except Exception as error:
        # The package raises errors of many libraries; each is about the set and its place.
        hint = "; --offline forbids a download" if offline else ""
        raise DataError(f"cannot read hf:{name}: {str(error).strip() or type(error).__name__}{hint}") from error
    finally:
        datasets.config.HF_HUB_OFFLINE = known
    splits = {split: table for split, table in found.items() if split in ROLES}
    if not splits:
        raise DataError(f"hf:{name} has the splits {', '.join(found)}; expected train, and test or validation")
    first = next(iter(splits.values()))
    image, label = _image_column(first, options, name), _label_column(first, options, name)
    tables = tuple(
        table.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
        for table in splits.values()
    )
    names = getattr(first.features[label], "names", None)
    places: list[tuple[int, int]] = []
    labels: list[str] = []
    roles: list[str] = []
    ignored = sum(len(table) for split, table in found.items() if split not in ROLES)
    for number, (split, table) in enumerate(zip(splits, tables, strict=True)):
        values = np.asarray(table.with_format("numpy")[label]) if names else table[label]
        for row, value in enumerate(values):
            if value is None or (names and value < 0):
                # The Hub's mark for labels that were not published.
                ignored += 1
                continue
            places.append((number, row))
            labels.append(names[value] if names else str(value))
            roles.append(ROLES[split])
    return arranged(HubImages(tables, image, tuple(places)), labels, roles, source=f"hf:{name}", ignored=ignored)


def parse(place: str) -> tuple[str, dict[str, str]]:
    """`NAME[key=value,...]` as the name and its options; raises UsageError for what cannot be read."""
    match = re.fullmatch(r"([^\[\]]+)(?:\[(.*)\])?", place)
    if match is None:
        raise UsageError("name the set: --dataset hf:NAME, or 'hf:NAME[image=COLUMN,label=COLUMN]'")
    options = {}
    for text in filter(None, (match[2] or "").split(",")):
        key, equals, value = map(str.strip, text.partition("="))
        if key not in OPTIONS or not equals:
            raise UsageError(f"cannot read {text!r} in hf:{place}; the options are {', '.join(OPTIONS)}")
        options[key] = value
    return match[1], options


def _image_column(table: Any, options: dict[str, str], name: str) -> str:
    known = [column for column, kind in table.features.items() if type(kind).__name__ == "Image"]
    return _column("image", options, known, table, name)


def _label_column(table: Any, options: dict[str, str], name: str) -> str:
    known = [column for column, kind in table.features.items() if type(kind).__name__ == "ClassLabel"]
    usual = [column for column in USUAL_LABELS if column in table.features]
    return _column("label", options, known if len(known) == 1 else usual[:1] or known, table, name)


def _column(role: str, options: dict[str, str], known: list[str], table: Any, name: str) -> str:
    """The column that was named, or the only one that can be meant."""
    if (chosen := options.get(role)) is not None:
        if chosen not in table.features:
            raise UsageError(f"hf:{name} has no column {chosen!r}; it has: {', '.join(table.features)}")
        return chosen
    if len(known) != 1:
        raise UsageError(
            f"hf:{name} has {len(known)} columns that may be the {role}; name one: 'hf:{name}[{role}=COLUMN]', "
            f"of {', '.join(table.features)}"
        )
    return known[0]


SPEC = DatasetSpec(
    name="hf",
    builder=build,
    channels=3,
    image_size=None,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
