"""Embeddings that exist already, of images or of anything else: their rows and classes, checked and split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dsabench.data.dataset import Dataset
from dsabench.data.splits import held_out_count, stratified
from dsabench.errors import DataError
from dsabench.evaluation.embedding_files import LAYOUT, SPLITS, content_sha256, read_embeddings, read_labels
from dsabench.files import room
from dsabench.types import Features

Array = np.ndarray[Any, Any]

VAL_SHARE, TEST_SHARE = 0.1, 0.2
_BLOCK_BYTES = 2**25


class Embeddings(NamedTuple):
    """Features by split (`train`, `val`, `test`), the names of the classes, and what tables call the data.

    `data_sha256` is of the labels in their order: two files of embeddings of the same samples share it, and with a
    data set named it is that data set's. `sha256` is of the files.
    """

    splits: Mapping[str, Features]
    classes: tuple[str, ...]
    title: str
    data_sha256: str
    sha256: str


def load_embeddings(path: Path, labels: Path | None = None, dataset: Dataset | None = None) -> Embeddings:
    """The embeddings of a file or folder, labelled by itself or by a CSV file, of any number of rows.

    Without a test split a fifth, and without a validation split a tenth of the training rows, is held out, stratified
    by label and by a fixed draw. With `dataset` the rows are those of its images, in its order, and it is checked that
    their labels are too. Raises DataError for what cannot be features, or does not fit.
    """
    arrays = read_embeddings(path)
    x, y = {}, {}
    for split in ("", *SPLITS):
        suffix = f"_{split}" if split else ""
        if f"x{suffix}" in arrays:
            where = f"{path}: x{suffix}"
            x[split] = _rows(where, arrays[f"x{suffix}"])
            y[split] = _labels(where, len(x[split]), arrays.get(f"y{suffix}"), arrays.get(f"name{suffix}"), labels)
    if not ({"train", "test"} <= x.keys() or x.keys() == {""}) or ("" in x and len(x) > 1):
        raise DataError(f"{path} holds x for {', '.join(key or 'no split' for key in x)}; {LAYOUT}")
    widths = {rows.shape[1] for rows in x.values()}
    if len(widths) > 1:
        raise DataError(f"{path} holds embeddings of {min(widths)} and of {max(widths)} dimensions")
    codes, classes = _numbered(path, y, dataset)
    named = dataset.name if dataset else "embeddings"
    if "" in x:
        kept, held = _held_out(path, codes[""], classes, TEST_SHARE, f"{named} test", leave=2)
        x, codes = _parted(x, codes, "", {"train": kept, "test": held})
    if "val" not in x:
        kept, held = _held_out(path, codes["train"], classes, VAL_SHARE, f"{named} val", leave=1)
        x, codes = _parted(x, codes, "train", {"train": kept, "val": held})
    splits = {split: Features(x[split], codes[split]) for split in SPLITS}
    if dataset is not None:
        _check_rows(path, splits, dataset)
    return Embeddings(
        splits=splits,
        classes=classes,
        title=dataset.name if dataset else "embeddings",
        data_sha256=dataset.sha256 if dataset else labels_sha256(classes, splits),
        sha256=content_sha256(path),
    )


def labels_sha256(classes: tuple[str, ...], splits: Mapping[str, Features]) -> str:
    """A hash of the classes and of the labels of every split in their order."""
    digest = hashlib.sha256(json.dumps(classes).encode())
    for split in SPLITS:
        digest.update(split.encode() + splits[split].y.numpy().tobytes())
    return digest.hexdigest()


def _rows(where: str, array: Array) -> Tensor:
    """Embeddings (N, D) float32, checked by blocks; those that are float32 stay where they are."""
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(f"{where} has the shape {array.shape}; embeddings are (N, D)")
    if array.dtype.kind != "f":
        raise DataError(f"{where} is of type {array.dtype}; embeddings are floating-point numbers")
    block = max(1, _BLOCK_BYTES // (4 * array.shape[1]))
    # Another type or byte order is brought to float32 by blocks, too.
    rows = array if array.dtype == np.float32 and array.flags.c_contiguous else None
    made = array if rows is not None else room(array.shape, "float32")
    for start in range(0, len(array), block):
        part = array[start : start + block]
        with np.errstate(over="ignore"):
            narrow = part.astype(np.float32)
        finite = np.isfinite(narrow).all(axis=1)
        if not finite.all():
            raise DataError(f"{where} has NaN or infinite numbers, first in row {start + int(np.argmin(finite))}")
        if rows is None:
            made[start : start + block] = narrow
    return torch.from_numpy(made)


def _labels(where: str, n: int, y: Array | None, names: Array | None, table: Path | None) -> Array:
    """The labels (N,) of rows, whole numbers or words: their own, or those of a table by file name."""
    if table is not None:
        if names is None:
            raise DataError(f"{where} has no file names beside it, which --labels goes by")
        by_name = read_labels(table)
        missing = [name for name in names.tolist() if str(name) not in by_name]
        if missing:
            raise DataError(f"{table} has no label for {missing[0]!r} ({len(missing)} of {len(names)} are missing)")
        y = np.asarray([by_name[str(name)] for name in names.tolist()], dtype=str)
    if y is None:
        raise DataError(f"{where} has no labels beside it; {LAYOUT}, or --labels FILE.csv")
    if y.ndim != 1 or len(y) != n:
        raise DataError(f"{where} has {n} rows and labels of shape {y.shape}; one label a row is needed")
    if y.dtype.kind == "f" and (y == np.floor(y)).all():
        y = y.astype(np.int64)
    if y.dtype.kind not in "iubU":
        raise DataError(f"{where} has labels of type {y.dtype}; they are whole numbers or words")
    return np.asarray(y)


def _numbered(path: Path, y: Mapping[str, Array], dataset: Dataset | None) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Labels as classes 0..C-1 in their order, or as the data set numbers them, and the names of the classes."""
    if len({array.dtype.kind == "U" for array in y.values()}) > 1:
        raise DataError(f"{path} has labels that are words in one split and numbers in another")
    known = np.unique(np.concatenate([np.unique(array) for array in y.values()]))
    if dataset is None:
        codes = {split: torch.from_numpy(np.searchsorted(known, array).astype(np.int64)) for split, array in y.items()}
        return codes, tuple(map(str, known.tolist()))
    numbers = {name: number for number, name in enumerate(dataset.classes)}
    if known.dtype.kind != "U":
        numbers |= {number: number for number in range(len(dataset.classes))}  # type: ignore[misc]
    strange = [label for label in known.tolist() if label not in numbers]
    if strange:
        raise DataError(
            f"{path} has the label {strange[0]!r}, which is no class of {dataset.name}; leave --dataset out"
        )
    table = np.asarray([numbers[label] for label in known.tolist()], dtype=np.int64)
    return {
        split: torch.from_numpy(table[np.searchsorted(known, array)]) for split, array in y.items()
    }, dataset.classes


def _held_out(
    path: Path, codes: Tensor, classes: tuple[str, ...], share: float, purpose: str, *, leave: int
) -> tuple[Tensor, Tensor]:
    """Positions, ascending, of what stays and of a stratified share that is held out."""
    counts = torch.bincount(codes, minlength=len(classes))
    present = (counts > 0).nonzero().squeeze(1)
    few = int(present[counts[present].argmin()])
    if int(counts[few]) < leave + 1:
        raise DataError(
            f"{path} has {int(counts[few])} rows of the class {classes[few]!r}, but {leave + 1} are needed to hold "
            "some out; give x_val and x_test, or leave the class out"
        )
    # Of the classes that are there: one that only the test split has draws nothing here.
    compact = torch.searchsorted(present, codes)
    held = stratified(compact, held_out_count(len(codes), len(present), share), purpose, leave=leave)
    stays = torch.ones(len(codes), dtype=torch.bool)
    stays[held] = False
    return stays.nonzero().squeeze(1), held


def _parted(
    x: Mapping[str, Tensor], codes: Mapping[str, Tensor], split: str, parts: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The splits with one of them cut into `parts`."""
    rows = {**{key: value for key, value in x.items() if key != split}}
    labels = {**{key: value for key, value in codes.items() if key != split}}
    for name, index in parts.items():
        rows[name], labels[name] = picked(x[split], index), codes[split][index]
    return rows, labels


def picked(x: Tensor, index: Tensor) -> Tensor:
    """The rows of `x` (N, D) float32 at `index` (M,); many of them in a file without a name, mapped into memory."""
    made = room((len(index), x.shape[1]), "float32")
    block = max(1, _BLOCK_BYTES // (4 * x.shape[1]))
    for start in range(0, len(index), block):
        made[start : start + block] = x[index[start : start + block]].numpy()
    return torch.from_numpy(made)


def _check_rows(path: Path, splits: Mapping[str, Features], dataset: Dataset) -> None:
    for split in SPLITS:
        wanted = getattr(dataset, split).labels
        found = splits[split].y
        if len(found) != len(wanted) or not torch.equal(found, wanted):
            what = f"{len(found)} rows" if len(found) != len(wanted) else "labels in another order"
            raise DataError(
                f"{path} has {what} for the {split} split, where {dataset.name} has {len(wanted)} images; "
                "leave --dataset out to evaluate the embeddings on their own"
            )
