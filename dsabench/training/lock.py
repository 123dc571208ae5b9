"""Who works on a run: numbered claims in its folder, made atomically, each kept alive by a heartbeat.

`.claim-000007.json` appears whole and once (`files.write_new`), which holds on network file systems too, where `flock`
may not, and names the process that made it. The claim with the highest number counts, until it is given back (its time
is set to 0), its process is seen to have ended, or nobody has heard of it for `SILENCE_S`; then the next number is
free, for one process. Claims are never removed, so that no number is given twice.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from dsabench.errors import DataError, StorageError
from dsabench.files import read_json, sweep, write_new
from dsabench.signals import Stop

CLAIM = re.compile(r"\.claim-([0-9]{6,})\.json")
# Touched to read the clock of the file system, which is not this machine's.
CLOCK = ".clock"
# Where Linux tells of processes.
PROC = Path("/proc")

# What the holder writes while it works: the youngest of them says when it last wrote something.
WRITTEN = ("run.json", "log.csv")

# The time of the last heartbeat of a claim that was given back.
RELEASED = 0.0
# How often a holder shows that it lives, and after how long a silence a claim is taken over, in seconds.
HEARTBEAT_S = 20.0
SILENCE_S = 600.0
# How often a process that waits looks for signals, and how often it says what it waits for, in seconds.
WAIT_S = 0.5
REMIND_S = 60.0


class Holder(NamedTuple):
    """The process that holds a run, and for how many seconds it has written nothing."""

    pid: int
    host: str
    command: str
    silent_s: float


class Claim:
    """This process's claim of a folder, kept alive by a thread until it is released."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self._released = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let others have the folder."""
        self._released.set()
        self._heart.join()
        # Nothing is written, for the disk may be full; a folder that was removed stays removed.
        with suppress(OSError):
            os.utime(claim_path(self.folder, self.number), (RELEASED, RELEASED))

    def check(self) -> None:
        """Raise DataError where another process has taken the folder over: what it writes must not be written over."""
        if claim_path(self.folder, self.number + 1).exists():
            raise DataError(
                f"another process took over {self.folder}, since this one gave no sign of life for "
                f"{SILENCE_S / 60:.0f} minutes; the same command waits for it"
            )

    def _beat(self) -> None:
        path = claim_path(self.folder, self.number)
        while not self._released.wait(HEARTBEAT_S):
            # A disk that is away for a while is no reason to end.
            with suppress(OSError):
                os.utime(path)


def acquire(folder: Path, stop: Stop) -> Claim:
    """Claim `folder`, or wait for it, and say from time to time for whom.

    Raises Interrupted where a signal came first, StorageError where the folder cannot be written.
    """
    said = -math.inf
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            newest = newest_number(folder)
            if newest == 0 or not counts(folder, newest):
                with suppress(FileExistsError):
                    return create(folder, newest + 1)
                continue
            stop.check()
            if time.monotonic() - said >= REMIND_S:
                said = time.monotonic()
                print(waiting(folder, holder(folder)), file=sys.stderr, flush=True)
            time.sleep(WAIT_S)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error


def create(folder: Path, number: int) -> Claim:
    """Make the claim of that number; raises FileExistsError where another process was quicker."""
    program, *words = sys.argv
    note = {
        "pid": os.getpid(),
        "began": process_began(os.getpid()),
        "machine": machine(),
        "host": socket.gethostname(),
        "command": shlex.join([Path(program).name, *words]),
        "since": time.time(),
    }
    sweep(folder)
    write_new(claim_path(folder, number), json.dumps(note))
    return Claim(folder, number)


def is_held(folder: Path) -> bool:
    """Whether a process works on the run in `folder` now; False where that cannot be asked."""
    try:
        newest = newest_number(folder)
        return newest > 0 and counts(folder, newest)
    except OSError:
        return False


def holder(folder: Path) -> Holder | None:
    """Who works on the run in `folder` now; None where nobody does, or it has not yet said who it is."""
    if not is_held(folder):
        return None
    note = read_note(folder, newest_number(folder))
    try:
        written = [path.stat().st_mtime for name in WRITTEN if (path := folder / name).exists()]
        heard = max([float(note["since"]), *written])
        return Holder(int(note["pid"]), str(note["host"]), str(note["command"]), max(0.0, time.time() - heard))
    except (OSError, KeyError, TypeError, ValueError):
        return None


def waiting(folder: Path, found: Holder | None) -> str:
    """The line for whoever waits for a run."""
    if found is None:
        return f"waiting: another process works on {folder}"
    where = "" if found.host == socket.gethostname() else f" on {found.host}"
    return (
        f"waiting: process {found.pid}{where} works on {folder} and has written nothing for {found.silent_s:.0f} s: "
        f"{found.command}"
    )


def claim_path(folder: Path, number: int) -> Path:
    """The claim of that number, which need not exist."""
    return folder / f".claim-{number:06d}.json"


def newest_number(folder: Path) -> int:
    """The highest number that was claimed; 0 where none was."""
    if not folder.exists():
        return 0
    found = (CLAIM.fullmatch(entry.name) for entry in os.scandir(folder))
    return max((int(match[1]) for match in found if match), default=0)


def read_note(folder: Path, number: int) -> dict[str, Any]:
    """What a claim says of itself; empty where it cannot be read."""
    try:
        return read_json(claim_path(folder, number))
    except (DataError, StorageError):
        return {}


def counts(folder: Path, number: int) -> bool:
    """Whether the process behind a claim works still, as far as can be seen from here."""
    beaten = claim_path(folder, number).stat().st_mtime
    if beaten == RELEASED:
        return False
    note = read_note(folder, number)
    if note.get("machine") == machine():
        # Whoever can be seen needs no heartbeat: a laptop that sleeps keeps its runs.
        return note.get("began") is not None and process_began(note.get("pid")) == note["began"]
    return time_in(folder) - beaten < SILENCE_S


def time_in(folder: Path) -> float:
    """The time as the file system of `folder` has it, whose clock the heartbeats are read off; ours where it may not
    be asked."""
    path = folder / CLOCK
    try:
        path.touch()
        return path.stat().st_mtime
    except OSError:
        return time.time()


def machine() -> str:
    """What tells apart the places whose processes can be seen from one another: a boot, and a space of process ids."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink(PROC / 'self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_began(pid: object) -> str | None:
    """When a process here was started, in the system's own words; None where there is none, or it has ended."""
    if not isinstance(pid, int):
        return None
    if not (PROC / "self/stat").exists():
        return "some time" if responds(pid) else None
    try:
        text = (PROC / f"{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name of the program, in brackets, may hold anything.
    words = text.rpartition(")")[2].split()
    return None if words[0] in ("Z", "X") else words[19]


def responds(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
