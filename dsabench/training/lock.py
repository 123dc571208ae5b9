"""Who works on a run: the lock of its folder, and what the process that holds it says of itself.

The lock ends with its process, however that ends; the note beside it (`.holder.json`) may outlive it, and counts only
while the lock is held.
"""

from __future__ import annotations

import math
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from dsabench.errors import DataError, StorageError
from dsabench.files import read_json, to_json, write_atomic
from dsabench.signals import Stop

LOCK, NOTE = ".lock", ".holder.json"

# What the holder writes while it works: the youngest of them says when it was last heard of.
SIGNS_OF_LIFE = (NOTE, "run.json", "log.csv")


# How often a process that waits looks for signals, and how often it says what it waits for, in seconds.
WAIT_S = 0.5
REMIND_S = 60.0


class Holder(NamedTuple):
    """The process that holds a run, and for how many seconds it has written nothing."""

    pid: int
    host: str
    command: str
    silent_s: float


def is_held(folder: Path) -> bool:
    """Whether a process works on the run in `folder` now; False where that cannot be asked."""
    path = folder / LOCK
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def holder(folder: Path) -> Holder | None:
    """Who works on the run in `folder` now; None where nobody does, or it does not say who it is."""
    return described(folder) if is_held(folder) else None


def described(folder: Path) -> Holder | None:
    """Who the note in `folder` names; None where there is none that can be read."""
    try:
        note = read_json(folder / NOTE)
        heard = max(path.stat().st_mtime for name in SIGNS_OF_LIFE if (path := folder / name).exists())
        return Holder(int(note["pid"]), str(note["host"]), str(note["command"]), max(0.0, time.time() - heard))
    except (OSError, DataError, StorageError, KeyError, TypeError, ValueError):
        # It has just been released, or a killed process never wrote one.
        return None


def acquire(lock: FileLock, folder: Path, stop: Stop) -> None:
    """Take the lock of `folder`, or wait for it, and say from time to time for whom.

    Raises Interrupted where a signal came first, StorageError where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        said = -math.inf
        while not lock.is_locked:
            with suppress(Timeout):
                lock.acquire(timeout=WAIT_S if said >= 0 else 0)
                return
            stop.check()
            if time.monotonic() - said >= REMIND_S:
                said = time.monotonic()
                print(waiting(folder, described(folder)), file=sys.stderr, flush=True)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error


def waiting(folder: Path, found: Holder | None) -> str:
    """The line for whoever waits for a run."""
    if found is None:
        return f"waiting: another process works on {folder}"
    where = "" if found.host == socket.gethostname() else f" on {found.host}"
    return (
        f"waiting: process {found.pid}{where} works on {folder} and has written nothing for {found.silent_s:.0f} s: "
        f"{found.command}"
    )


@contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Say, for as long as the lock of `folder` is held here, who holds it."""
    program, *words = sys.argv
    note = {"pid": os.getpid(), "host": socket.gethostname(), "command": shlex.join([Path(program).name, *words])}
    write_atomic(folder / NOTE, to_json(note))
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / NOTE).unlink()
