"""Calls of the system, counted in a child, of which the n-th does harm: it kills, or it fails.

Python tells of opening, renaming and removing through its audit hooks; writing and syncing are put into its place.
What compiled libraries open by themselves (safetensors, when it reads) is not seen.
"""

from __future__ import annotations

import builtins
import io
import mmap
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Act = Callable[[str], None]

CHANGES = {"os.rename": "rename", "os.remove": "unlink", "os.mkdir": "mkdir", "os.rmdir": "rmdir"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def kill(_: str) -> None:
    """End this process now, as the system does when it has no memory left."""
    os.kill(os.getpid(), signal.SIGKILL)


def failing(code: int) -> Act:
    """Have the system refuse the call."""

    def fail(path: str) -> None:
        raise OSError(code, os.strerror(code), path)

    return fail


class Calls:
    """The calls of a child on what is in `folder`; number `at` comes to `act(path)`, those after it too if `on`."""

    def __init__(self, folder: Path, at: int = 0, act: Act = kill, *, reads: bool = False, on: bool = False) -> None:
        self.folder, self.at, self.act, self.reads, self.on = str(folder.resolve()), at, act, reads, on
        self._shared = mmap.mmap(-1, 8)
        self._inside = False

    @property
    def count(self) -> int:
        """How many calls there were; the parent sees those of the child."""
        return int.from_bytes(self._shared[:8], "little")

    def install(self) -> None:
        """Begin to count, for the rest of this process."""
        sys.addaudithook(self._hear)
        sync, opened = os.fsync, io.open

        def fsync(fd: Any) -> None:
            self._meet(os.readlink(f"/proc/self/fd/{fd if isinstance(fd, int) else fd.fileno()}"))
            sync(fd)

        def hooked(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
            result = opened(file, mode, *more, **named)
            if isinstance(result, io.BufferedWriter) and self._is_ours(str(file)):
                result = Torn(result.detach(), self._meet)
            return result

        for owner, name, ours in ((os, "fsync", fsync), (io, "open", hooked), (builtins, "open", hooked)):
            setattr(owner, name, ours)

    def _is_ours(self, path: str) -> bool:
        return os.path.abspath(path).startswith(self.folder)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._inside:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes) and (self.reads or (flags or 0) & WRITES):
                self._meet(os.fsdecode(path))
        elif event in CHANGES and isinstance(arguments[0], str | bytes):
            self._meet(os.fsdecode(arguments[0]))

    def _meet(self, path: str, half: Callable[[], object] = lambda: None) -> None:
        """One more call; `half()` does a part of it before the harm."""
        if self._inside or not self._is_ours(path):
            return
        self._inside = True
        try:
            number = self.count + 1
            self._shared[:8] = number.to_bytes(8, "little")
            if self.at and (number == self.at or (self.on and number > self.at)):
                half()
                self.act(path)
        finally:
            self._inside = False


class Torn(io.BufferedWriter):
    """A file of which a write may stop in the middle."""

    def __init__(self, raw: Any, meet: Callable[..., None]) -> None:
        super().__init__(raw)
        self._meet = meet

    def write(self, data: Any) -> int:
        """Write all of `data`, or half of it where the harm comes."""
        view = memoryview(data).cast("B")

        def half() -> None:
            super(Torn, self).write(view[: len(view) // 2])
            super(Torn, self).flush()

        self._meet(str(self.name), half)
        return super().write(data)
