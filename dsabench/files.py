"""Files on disk that no reader ever sees half-written, and the small formats that they hold."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dsabench.errors import DataError, StorageError

if TYPE_CHECKING:
    import numpy as np

# Arrays that are made of a file's rows, and larger than this, are in a file of their own.
RESIDENT_BYTES = 2**29

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
_SLUG_LENGTH = 80
# What `write_atomic` has not finished, or never will.
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{12}\.dsabench\.tmp")


def write_atomic(path: Path, data: bytes | str | Iterable[bytes]) -> None:
    """Write `data` (text as UTF-8, or parts one after another) so that `path` holds its old content or all of the new.

    Missing parent folders are made. Raises StorageError where the disk is full or the place may not be written;
    nothing is left behind then, nor where the parts end with an error.
    """
    parts = [data.encode()] if isinstance(data, str) else [data] if isinstance(data, bytes) else data
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with _own_temporary(path) as file:
            temporary = Path(file.name)
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(_explain(path, error)) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def write_new(path: Path, text: str) -> None:
    """Write `text` so that `path` appears whole, for one process of all that try.

    Raises FileExistsError where it is there already, and other OSErrors as they come; nothing is left behind then. A
    name is given to the finished file (`link`), which network file systems do at once or not at all; where a file
    system has no links, a process that is killed in between leaves an empty file.
    """
    with _own_temporary(path) as file:
        try:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(file.name, path)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                with path.open("x", encoding="utf-8") as plain:
                    plain.write(text)
        finally:
            os.unlink(file.name)


def room(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """An empty array: in memory, or, above `RESIDENT_BYTES`, mapped from a temporary file that ends with its last use.

    Pages of a mapped file are given back where memory is short. Raises StorageError where the disk is full.
    """
    import numpy as np

    n_bytes = np.dtype(dtype).itemsize * math.prod(shape)
    if n_bytes <= RESIDENT_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="dsabench-") as file:
        try:
            # A full disk is an error here, where a page that finds no place later would end the process.
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        except OSError as error:
            raise StorageError(_explain(Path(tempfile.gettempdir()), error)) from error
        return np.memmap(file, dtype, mode="r+", shape=shape)


def sweep(folder: Path) -> None:
    """Remove the temporary files in a folder that a killed process left; one that is being written is locked."""
    for entry in os.scandir(folder):
        if not _TEMPORARY.fullmatch(entry.name):
            continue
        with suppress(OSError):
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry.path)
            finally:
                os.close(descriptor)


def _own_temporary(path: Path) -> IO[bytes]:
    """A new file beside `path`, locked for as long as it is open."""
    while True:
        file = (path.parent / f".{path.name[:40]}.{secrets.token_hex(6)}.dsabench.tmp").open("xb")
        # Where a file system knows no locks, nothing is swept either.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        # It may have been swept before it was locked.
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def check_writable(path: Path) -> None:
    """Raise StorageError where a later `write_atomic` to `path` would be refused; writes and makes nothing."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise StorageError(f"cannot write {path}: {folder} is no folder; write somewhere else")
    if path.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(f"cannot write {path}: it is a folder, or {folder} is not writable; write somewhere else")


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; the file itself is already safe there.
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def _explain(path: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return f"cannot write {path}: the disk or quota is full; free some space or write somewhere else"
    if error.errno in _FORBIDDEN:
        return f"cannot write {path}: permission denied; make {path.parent} writable or write somewhere else"
    return f"cannot write {path}: {error.strerror or error}; check the path or write somewhere else"


def sha256_bytes(data: bytes) -> str:
    """The SHA-256 of `data` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A plain file, to be read; what else bears the name would never end, or is no content.

    Raises DataError where it is missing or no plain file, StorageError where it cannot be read.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DataError(f"cannot read {path}: it is no plain file")
            yield file
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}; check the disk and permissions") from error


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content in lower-case hexadecimal; raises as `opened` does."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises DataError with the path where it is missing, damaged or no object.

    Raises StorageError where it cannot be read.
    """
    with opened(path) as file:
        text = file.read()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged, it is not valid JSON ({error}); restore or remove it") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged, it holds no JSON object; restore or remove it")
    return content


def canonical_json(mapping: Mapping[str, object]) -> str:
    """The one JSON text of a mapping: sorted keys, no spaces; raises ValueError for a number that is not finite."""
    return json.dumps(mapping, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def to_json(content: Mapping[str, object]) -> str:
    """Readable JSON that ends in a line end; raises ValueError for a number that is not finite."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def slug(text: str) -> str:
    """A safe path component from any text: letters, digits, `.`, `_`, `+`, `-`, at most 80 of them.

    Never empty, never starting with a dot or a dash, and its own slug. Two texts can share one.
    """
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "-", text)
    safe = re.sub(r"-+\+", "+", safe).lstrip("-.")
    return safe[:_SLUG_LENGTH].rstrip("-.") or "_"


def to_toml(mapping: Mapping[str, object]) -> str:
    """TOML for a mapping of strings, integers, floats, booleans, lists of these, and tables (nested mappings).

    None is left out, since TOML has no word for it. Raises TypeError for any other value.
    """
    return "\n".join(_toml_lines(mapping, ())).lstrip("\n") + "\n"


def _toml_lines(mapping: Mapping[str, object], path: tuple[str, ...]) -> list[str]:
    present = {key: value for key, value in mapping.items() if value is not None}
    tables = {key: value for key, value in present.items() if isinstance(value, Mapping)}
    lines = [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in present.items() if key not in tables]
    # Plain values must come before the tables, or TOML would read them as part of the last one.
    for key, table in tables.items():
        inner = (*path, key)
        lines += ["", f"[{'.'.join(map(_toml_key, inner))}]", *_toml_lines(table, inner)]
    return lines


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's too, but JSON leaves DEL as it is and TOML forbids it.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple) and not any(isinstance(item, list | tuple | Mapping) for item in value):
        return f"[{', '.join(map(_toml_value, value))}]"
    raise TypeError(f"TOML cannot hold {value!r}")
