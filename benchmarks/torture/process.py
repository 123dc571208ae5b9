"""Commands in processes of their own, forked from one that has imported everything: a start costs milliseconds."""

from __future__ import annotations

import importlib
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

import dsabench
from benchmarks.torture.outcome import DEFECTS, LISTED

MOST_S, MOST_BYTES = 30.0, 2**30
# What has not ended by then hangs.
PATIENCE_S = 180.0

Before = Callable[[], None]


def warm() -> None:
    """Import all that commands import later; nothing is computed, so that no thread is there to be forked."""
    for module in pkgutil.walk_packages(dsabench.__path__, "dsabench."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


class Ended(NamedTuple):
    """How a process ended: its exit code (minus the signal that killed it), its streams, seconds and memory.

    `cpu_s` is what it worked, which other work on the machine does not change.
    """

    code: int
    out: str
    err: str
    seconds: float
    cpu_s: float
    grown: int

    def wrong(self, *codes: int) -> list[str]:
        """What no command may do: another code than `codes` (or the list's), a traceback, too long or too large."""
        known = codes or tuple(LISTED)
        last = self.err.strip().splitlines()[-1:]
        found = [] if self.code in known else [f"exit code {self.code} {last}"]
        found += [f"{word}: {last}" for word in DEFECTS if word in self.err]
        found += [f"took {self.cpu_s:.0f} s"] if self.cpu_s > MOST_S else []
        found += [f"grew by {self.grown / 2**20:.0f} MiB"] if self.grown > MOST_BYTES else []
        return found


@dataclass
class Running:
    """A process that `start` started."""

    pid: int
    streams: tuple[IO[bytes], IO[bytes]]
    began: float

    def send(self, number: int, group: bool = False) -> None:
        """Send a signal to the process, or to it and all that it started."""
        try:
            (os.killpg if group else os.kill)(self.pid, number)
        except ProcessLookupError:
            return

    def end(self, patience: float = PATIENCE_S) -> Ended:
        """Wait for the end; what does not end in time is killed, with all that it started."""
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - self.began > patience:
                self.send(signal.SIGKILL, group=True)
                patience = float("inf")
            time.sleep(0.002)
        seconds = time.monotonic() - self.began
        out, err = (self._text(stream) for stream in self.streams)
        grown = 1024 * (usage.ru_maxrss - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return Ended(os.waitstatus_to_exitcode(status), out, err, seconds, usage.ru_utime + usage.ru_stime, grown)

    @staticmethod
    def _text(stream: IO[bytes]) -> str:
        stream.seek(0)
        with stream:
            return stream.read().decode(errors="replace")


def start(words: Sequence[object], cwd: Path, before: Before | None = None) -> Running:
    """Start a dsabench command; `before()` is called in its process first."""

    def body() -> int:
        from dsabench import cli

        sys.argv = ["dsabench", *map(str, words)]
        cli.main()
        return 0

    return start_call(body, cwd, before)


def start_call(body: Callable[[], int], cwd: Path, before: Before | None = None) -> Running:
    """The same for a function that returns an exit code."""
    streams = (tempfile.TemporaryFile(), tempfile.TemporaryFile())  # noqa: SIM115  (`Running.end` closes them)
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        _be(body, cwd, before, streams)
    return Running(pid, streams, began)


def _be(body: Callable[[], int], cwd: Path, before: Before | None, streams: tuple[IO[bytes], IO[bytes]]) -> NoReturn:
    """The life of a child; what it raises is printed as Python would."""
    code: object = 1
    try:
        os.setsid()
        for number, stream in enumerate(streams, start=1):
            os.dup2(stream.fileno(), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ |= {"NO_COLOR": "1", "COLUMNS": "200", "HOME": str(cwd)}
        os.chdir(cwd)
        if before is not None:
            before()
        code = body()
    except SystemExit as error:
        code = error.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream_out in (sys.stdout, sys.stderr):
            try:
                stream_out.flush()
            except (OSError, ValueError):
                continue
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def run(words: Sequence[object], cwd: Path, before: Before | None = None) -> Ended:
    """Run a dsabench command to its end."""
    return start(words, cwd, before).end()


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(folder.name))
    found, open_ones = [], [pid]
    while open_ones:
        below = parents.get(open_ones.pop(), [])
        found += below
        open_ones += below
    return found


def is_alive(pid: int) -> bool:
    """Whether a process still runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
