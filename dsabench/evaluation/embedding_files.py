"""Files of embeddings: npz, safetensors, parquet and folders of npy, read without running anything that is in them.

What can be mapped into memory is (npy, safetensors, and npz whose members are not compressed): embeddings may be larger
than memory.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from dsabench.errors import DataError, UsageError
from dsabench.files import sha256_bytes, sha256_file

Array = np.ndarray[Any, Any]

MEANINGS = {
    "x": ("x", "embedding", "embeddings", "features"),
    "y": ("y", "label", "labels", "target", "targets"),
    "name": ("filename", "filenames", "name", "names", "path", "paths"),
}
SPLITS = ("train", "val", "test")
# What a compressed member may unpack to: so many bytes, or so many times its size.
UNPACKED_BYTES, UNPACKED_RATIO = 2**30, 200
LAYOUT = "expected x_train, y_train, x_test and y_test, or x and y"
_BAD_FILE = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def read_embeddings(path: Path) -> dict[str, Array]:
    """The arrays of a file or folder as `x`, `y` and `name`, or with the split as in `x_train`.

    Raises DataError where it cannot be read, holds Python objects, or has no embeddings.
    """
    readers: dict[str, Callable[[Path], dict[str, Array]]] = {
        ".npz": _npz,
        ".safetensors": _safetensors,
        ".parquet": _parquet,
    }
    reader = _folder if path.is_dir() else readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no file of embeddings: {', '.join(readers)}, or a folder of .npy")
    try:
        arrays = reader(path)
    except (*_BAD_FILE, SafetensorError) as error:
        text = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"cannot read the embeddings {path}: {text}") from error
    found: dict[str, Array] = {}
    for key, array in arrays.items():
        meaning = _meaning(key)
        if meaning is not None:
            if meaning in found:
                raise DataError(f"{path} has two arrays for {meaning}; {LAYOUT}")
            found[meaning] = array
    if not any(key == "x" or key.startswith("x_") for key in found):
        raise DataError(f"{path} holds no embeddings but {', '.join(sorted(arrays)) or 'nothing'}; {LAYOUT}")
    return found


def _meaning(key: str) -> str | None:
    """`embeddings_train` -> `x_train`; None for an array that is none of these."""
    base, _, split = key.rpartition("_")
    split = split if split in SPLITS and base else ""
    base = base if split else key
    kind = next((kind for kind, words in MEANINGS.items() if base.lower() in words), None)
    return None if kind is None else f"{kind}_{split}" if split else kind


def _folder(path: Path) -> dict[str, Array]:
    return {file.stem: _mapped_npy(file) for file in sorted(path.glob("*.npy"))}


def _mapped_npy(path: Path) -> Array:
    # Copy on write: a tensor of it may not be written to by accident, and torch wants one that could be.
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        # NumPy goes by the first bytes, whatever the name.
        raise ValueError(f"{path.name} is an archive and no array")
    return array


def _npz(path: Path) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            key = member.filename.removesuffix(".npy")
            if member.compress_type == zipfile.ZIP_STORED:
                arrays[key] = _mapped_member(path, archive, member)
                continue
            if member.file_size > max(UNPACKED_BYTES, UNPACKED_RATIO * member.compress_size):
                raise ValueError(
                    f"{member.filename} unpacks to {member.file_size:,} bytes from {member.compress_size:,}"
                )
            with archive.open(member) as file:
                arrays[key] = np.lib.format.read_array(io.BytesIO(file.read()), allow_pickle=False)
    return arrays


def _mapped_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """An array that lies in an archive as it is: mapped where it lies, its checksum verified by one read."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        header = file.tell()
        while file.read(2**24):
            # Reading to the end is what makes zipfile compare the checksum.
            pass
    if dtype.hasobject:
        key = member.filename.removesuffix(".npy")
        raise ValueError(
            f"{member.filename} holds Python objects, which are not loaded; "
            f"of words save {key}.astype(str), of numbers {key}.astype(float)"
        )
    if header + int(np.prod(shape, dtype=object)) * dtype.itemsize != member.file_size:
        raise ValueError(f"{member.filename} does not hold the {shape} numbers that it names")
    with path.open("rb") as raw:
        raw.seek(member.header_offset + 26)
        lengths = raw.read(4)
    start = member.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    if not np.prod(shape):
        return np.empty(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="c", offset=start + header, shape=shape, order="F" if fortran else "C")


def _safetensors(path: Path) -> dict[str, Array]:
    return {key: (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()
            for key, tensor in load_file(path).items()}  # fmt: skip


def _parquet(path: Path) -> dict[str, Array]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(f"{path} needs pyarrow; pip install 'dsabench[parquet]'") from error
    try:
        table = parquet.read_table(path, memory_map=True)
        columns = {name: _column(name, table[name]) for name in table.column_names if _meaning(name) or name == "split"}
    except pyarrow.ArrowException as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    splits = columns.pop("split", None)
    if splits is None:
        return columns
    others = sorted(set(splits.tolist()) - set(SPLITS), key=str)
    if others:
        raise ValueError(f"its column split holds {others[0]!r}; known: {', '.join(SPLITS)}")
    return {
        f"{name}_{split}": column[splits == split]
        for split in dict.fromkeys(splits.tolist())
        for name, column in columns.items()
    }


def _column(name: str, column: Any) -> Array:
    """A column of numbers or words (N,), or of lists of one length (N, D)."""
    import pyarrow

    if column.null_count:
        raise ValueError(f"its column {name} has {column.null_count} empty cells")
    chunk = column.combine_chunks()
    kinds = pyarrow.types
    if not (kinds.is_list(chunk.type) or kinds.is_fixed_size_list(chunk.type) or kinds.is_large_list(chunk.type)):
        if not any(
            test(chunk.type) for test in (kinds.is_integer, kinds.is_floating, kinds.is_string, kinds.is_boolean)
        ):
            return np.asarray(chunk.cast(pyarrow.string()).to_pylist(), dtype=str)
        values = chunk.to_pylist() if kinds.is_string(chunk.type) else chunk.to_numpy(zero_copy_only=False)
        return np.asarray(values)
    lengths = set(chunk.value_lengths().unique().to_pylist())
    if len(lengths) != 1:
        raise ValueError(f"its column {name} is ragged: rows of {min(lengths)} to {max(lengths)} numbers")
    flat: Array = chunk.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(chunk), lengths.pop())


def read_labels(path: Path) -> dict[str, str]:
    """The labels of a CSV file by file name; raises DataError where it has no such columns, or one name twice."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names, labels = (
                next((c for c in reader.fieldnames or () if _meaning(c) == kind), None) for kind in ("name", "y")
            )
            if names is None or labels is None:
                raise DataError(f"{path} has no columns filename and label, but {', '.join(reader.fieldnames or ())}")
            found: dict[str, str] = {}
            for row in reader:
                if found.setdefault(row[names], row[labels]) != row[labels]:
                    raise DataError(f"{path} gives {row[names]!r} two labels")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the labels {path}: {error}") from error
    return found


def content_sha256(path: Path) -> str:
    """A hash of the content of a file, or of the npy files of a folder and their names."""
    if not path.is_dir():
        return sha256_file(path)
    parts = [f"{file.name} {sha256_file(file)}" for file in sorted(path.glob("*.npy"))]
    return sha256_bytes("\n".join(parts).encode())
