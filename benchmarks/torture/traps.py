"""Archives made to do harm: paths that lead elsewhere, links, devices, bombs, and content that is no such thing."""

from __future__ import annotations

import errno
import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.torture.outcome import Outcome
from benchmarks.torture.process import start_call
from dsabench.data.sources.archives import unpack
from dsabench.errors import DataError


def traps(outcome: Outcome, root: Path, small: bool) -> None:
    """Unpack every one of them."""
    for name, made in list(ARCHIVES.items())[: 2 if small else None]:
        outcome.add(f"an archive with {name}", unpacked(root / "archives", name, made))


def tar_with(name: str, kind: bytes = tarfile.REGTYPE, size: int = 1, link: str = "", times: int = 1) -> bytes:
    """A tar whose last member is a trap."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for number in range(times):
            info = tarfile.TarInfo(name if times == 1 else f"{name}{number}")
            info.type, info.linkname, info.size = kind, link, size if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(bytes(info.size)) if info.size else None)
    return file.getvalue()


def zip_with(name: str, size: int = 1, mode: int = stat.S_IFREG | 0o644, times: int = 1, lie: int = 0) -> bytes:
    """A zip whose last member is a trap; with `lie` its index names that size."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(times):
            info = zipfile.ZipInfo(name if times == 1 else f"{name}{number}")
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, bytes(size))
        if lie:
            archive.filelist[-1].file_size = lie
    return file.getvalue()


def corrupt(content: bytes) -> bytes:
    """An archive whose index is right and whose content is not."""
    middle = len(content) // 3
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 64]) + content[middle + 64 :]


NOISE = np.random.default_rng(1).bytes(20_000)


def noisy_zip() -> bytes:
    """A zip of what cannot be compressed, with its content damaged."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", NOISE)
    return corrupt(file.getvalue())


MIB = 2**20
ARCHIVES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a path that leads out": ("a.tar.gz", lambda: tar_with("../outside")),
    "a path that leads out and in": ("a.tar.gz", lambda: tar_with("a/../../outside")),
    "an absolute path": ("a.tar.gz", lambda: tar_with("/tmp/torture-outside")),
    "a symbolic link": ("a.tar.gz", lambda: tar_with("link", tarfile.SYMTYPE, link="/etc")),
    "a hard link": ("a.tar.gz", lambda: tar_with("link", tarfile.LNKTYPE, link="/etc/passwd")),
    "a device": ("a.tar.gz", lambda: tar_with("null", tarfile.CHRTYPE)),
    "a FIFO": ("a.tar.gz", lambda: tar_with("fifo", tarfile.FIFOTYPE)),
    "a name of 300 characters": ("a.tar.gz", lambda: tar_with("x" * 300)),
    "a bomb by ratio": ("a.tar.gz", lambda: tar_with("zeros", size=64 * MIB)),
    "damaged content": ("a.tar.gz", lambda: corrupt(gzip.compress(NOISE))),
    "a path that leads out of a zip": ("a.zip", lambda: zip_with("../outside")),
    "a link in a zip": ("a.zip", lambda: zip_with("link", mode=stat.S_IFLNK | 0o777)),
    "a zip bomb by ratio": ("a.zip", lambda: zip_with("zeros", 64 * MIB)),
    "a zip bomb by count": ("a.zip", lambda: zip_with("zeros", 4 * MIB, times=40)),
    "a zip that lies about sizes": ("a.zip", lambda: zip_with("zeros", 64 * MIB, lie=10)),
    "a zip with damaged content": ("a.zip", noisy_zip),
    "a gzip bomb": ("a.gz", lambda: gzip.compress(bytes(64 * MIB))),
    "a gzip cut short": ("a.gz", lambda: gzip.compress(NOISE)[:9000]),
    "damaged gzip": ("a.gz", lambda: corrupt(gzip.compress(NOISE))),
}


def unpacked(folder: Path, name: str, made: tuple[str, Callable[[], bytes]]) -> list[str]:
    """Unpack a trap: refused by name, nothing beside the folder, and not much in it."""
    place = folder / name.replace(" ", "-")
    place.mkdir(parents=True)
    path = place / made[0]
    path.write_bytes(made[1]())

    def body() -> int:
        try:
            unpack(path, place / "into")
        except DataError as error:
            return 3 if str(path) in str(error) else 1
        except OSError as error:
            # What reads a data set says of it that the disk does not take that.
            return 4 if error.errno == errno.ENAMETOOLONG else 1
        return 0

    done = start_call(body, place).end()
    wrong = done.wrong(3, 4)
    beside = {entry.name for entry in place.iterdir()} - {path.name, "into"}
    inside = sum(entry.stat().st_size for entry in place.rglob("into/**/*") if entry.is_file())
    wrong += [f"it wrote {sorted(beside)}"] if beside else []
    return wrong + ([f"it wrote {inside / MIB:.0f} MiB"] if inside > 32 * MIB else [])
