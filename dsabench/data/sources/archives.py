"""Files from the network, verified before they have their name, and unpacked without trusting what is in them."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Protocol
from urllib.error import URLError
from urllib.request import Request, urlopen

from dsabench.errors import DataError

ATTEMPTS = 3
WAIT_S = 2.0
TIMEOUT_S = 60
_CHUNK = 2**20

MOST_MEMBERS = 3_000_000
MOST_TIMES_LARGER = 200
"""Images hardly shrink in an archive; one that grows further when unpacked was made to fill the disk."""
_SMALL = 2**24

# What the readers of archives raise for content that is no archive, or that they cannot read: encrypted, of another
# method of compression, cut short.
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, RuntimeError, ValueError)

NETWORK_ERRORS = (URLError, HTTPException, TimeoutError, ConnectionError)


class Archive(NamedTuple):
    """A file to download: addresses that are tried in turn, and the MD5 that its publishers give."""

    urls: tuple[str, ...]
    md5: str

    @property
    def name(self) -> str:
        """What it is called on disk."""
        return self.urls[0].rpartition("/")[2]


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int = ..., /) -> bytes: ...


def fetch(archive: Archive, folder: Path) -> Path:
    """The archive in `folder`, downloaded where it is not there whole; a wrong or half file is replaced.

    It has its name only when its hash was right. Raises DataError where no attempt gave the right file.
    """
    path = folder / archive.name
    if path.is_file() and _md5(path) == archive.md5:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    wrong = ""
    for attempt in range(ATTEMPTS):
        for url in archive.urls:
            try:
                _download(url, partial)
            except NETWORK_ERRORS as error:
                wrong = f"{url}: {error}"
                continue
            if (found := _md5(partial)) == archive.md5:
                partial.replace(path)
                return path
            wrong = f"{url} has the MD5 {found}, and {archive.md5} was expected"
        if attempt + 1 < ATTEMPTS:
            time.sleep(WAIT_S * 2**attempt)
    with suppress(OSError):
        partial.unlink()
    raise DataError(wrong)


def _download(url: str, path: Path) -> None:
    with urlopen(Request(url, headers={"User-Agent": "dsabench"}), timeout=TIMEOUT_S) as response:
        size = response.headers.get("Content-Length")
        note = f" ({int(size) / 1e6:,.0f} MB)" if size and int(size) >= 10**6 else ""
        print(f"downloading {url}{note}", file=sys.stderr, flush=True)
        with path.open("wb") as file:
            shutil.copyfileobj(response, file, _CHUNK)


def _md5(path: Path) -> str:
    # The publishers give MD5; it is no defence against an attacker, but against half and wrong files.
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip, a tar or a single gzipped file into `folder`; every file is there whole or not at all.

    Raises DataError for an archive that is damaged or holds links, paths that lead elsewhere, or far too much.
    """
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                _unpack_zip(archive, path, folder)
        elif path.suffix == ".gz" and not path.name.endswith(".tar.gz"):
            with gzip.open(path) as content:
                _write(folder / path.stem, Bounded(content, path))
        else:
            with tarfile.open(path) as archive:
                _unpack_tar(archive, path, folder)
    except DAMAGE as error:
        raise DataError(f"{path} is damaged: {error}; remove it") from error
    except OSError as error:
        # Decompressors raise it too, and the system alone gives it a number.
        if error.errno is not None:
            raise
        raise DataError(f"{path} is damaged: {error}; remove it") from error


def _unpack_zip(archive: zipfile.ZipFile, path: Path, folder: Path) -> None:
    members = [member for member in archive.infolist() if not member.is_dir()]
    check = _checker(path)
    for member in members:
        # The upper half holds the Unix mode, whose kind 0xA is a symbolic link.
        check(member.filename, member.file_size, plain=member.external_attr >> 28 != 0xA)
    for member in members:
        with archive.open(member) as content:
            _write(folder / member.filename, content)


def _unpack_tar(archive: tarfile.TarFile, path: Path, folder: Path) -> None:
    check = _checker(path)
    for member in archive:
        if member.isdir():
            continue
        check(member.name, member.size, plain=member.isreg() and not member.issparse())
        content = archive.extractfile(member)
        assert content is not None
        with content:
            _write(folder / member.name, content)
    # What compresses a tar has its checksum at the end, which nobody else reads.
    assert archive.fileobj is not None
    left = b"more"
    while left:
        left = archive.fileobj.read(_CHUNK)


class Bounded:
    """A file that no index gives the size of; raises DataError where it grows too large when it is unpacked."""

    def __init__(self, content: Readable, path: Path) -> None:
        self.content, self.path, self.left = content, path, _most(path)

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        data = self.content.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise DataError(f"{self.path} holds a file of far more bytes than it has, too many to be images")
        return data


def _most(path: Path) -> int:
    """The most bytes that an archive may unpack to."""
    return max(_SMALL, path.stat().st_size * MOST_TIMES_LARGER)


def _checker(path: Path) -> Callable[..., None]:
    """What refuses the members of one archive: counts and sizes add up over its calls."""
    most = _most(path)
    total = count = 0

    def check(name: str, size: int, *, plain: bool) -> None:
        nonlocal total, count
        total, count = total + size, count + 1
        if not plain:
            raise DataError(f"{path} holds {name!r}, which is no plain file; it is not unpacked")
        if not safe_name(name):
            raise DataError(f"{path} holds {name!r}, which would lie outside the folder; it is not unpacked")
        if total > most or count > MOST_MEMBERS:
            raise DataError(f"{path} holds {count:,} files of {total:,} bytes and more, too many to be images")

    return check


def safe_name(name: str) -> bool:
    """Whether the name of a member stays below the folder that it is unpacked into."""
    parts = PurePosixPath(name)
    return bool(parts.parts) and not parts.is_absolute() and ".." not in parts.parts and not {"\\", "\0", ":"} & {*name}


def _write(path: Path, content: Readable) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _whole(path) as file:
        shutil.copyfileobj(content, file, _CHUNK)


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
