"""A stored layer of features: written a batch at a time, mapped into memory, and verified when read.

It is a safetensors file, and beside it lies its SHA-256, so that a flipped bit is noticed. Features may be larger than
memory.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dsabench.data.dataset import Split
from dsabench.errors import DataError
from dsabench.files import sha256_file, write_atomic
from dsabench.types import Features


def seal(path: Path) -> Path:
    """Where the SHA-256 of a stored file lies."""
    return path.with_suffix(".sha256")


def is_whole(path: Path) -> bool:
    """Whether a stored file is there and is the one that was written."""
    try:
        return seal(path).read_text().strip() == sha256_file(path)
    except (OSError, UnicodeDecodeError, DataError):
        return False


def keep(path: Path, batches: Iterable[Tensor], split: Split) -> None:
    """Write features (B, D) float32, a batch at a time, with the labels of their split, and the SHA-256 beside them."""
    write_atomic(path, stored_form(batches, split.labels))
    write_atomic(seal(path), sha256_file(path) + "\n")


def stored_form(batches: Iterable[Tensor], labels: Tensor) -> Iterator[bytes]:
    """The parts of a safetensors file of `x` (N, D) float32, given in batches, and `y` (N,) int64.

    Written by hand because safetensors would want all of `x` at once; its header can be known from the first batch.
    """
    remaining = iter(batches)
    first = next(remaining)
    border, end = (labels.nbytes + count * first.shape[1] * 4 for count in (0, len(labels)))
    header = json.dumps(
        {
            "y": {"dtype": "I64", "shape": [len(labels)], "data_offsets": [0, border]},
            "x": {"dtype": "F32", "shape": [len(labels), first.shape[1]], "data_offsets": [border, end]},
        }
    ).encode()
    # Data begins at a multiple of 8, so that the mapped numbers are aligned.
    header += b" " * (-len(header) % 8)
    yield len(header).to_bytes(8, "little") + header
    yield labels.numpy().tobytes()
    for rows in itertools.chain([first], remaining):
        yield rows.numpy().tobytes()


def mapped(path: Path, split: Split) -> Features:
    """The features in a file, which stays their memory; raises DataError where they are not those of `split`."""
    try:
        stored = load_file(path)
        x, y = stored["x"], stored["y"]
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(f"cannot read the features {path}: {error}") from error
    if x.ndim != 2 or x.dtype != torch.float32 or len(x) != len(split) or not torch.equal(y, split.labels):
        raise DataError(f"{path} holds other features than those of the split; remove it")
    return Features(x, y)
