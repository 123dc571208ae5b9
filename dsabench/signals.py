"""Signals as a request to stop: what trains is saved first, all else ends where it is, with the shell's exit code."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dsabench.errors import Interrupted

# Slurm sends SIGUSR1 or SIGUSR2 before it takes a node away, a terminal that closes SIGHUP; scripts expect the code of
# SIGTERM.
EXIT_CODES = {
    signal.SIGINT: 130,
    signal.SIGTERM: 143,
    signal.SIGUSR1: 143,
    signal.SIGUSR2: 143,
    signal.SIGHUP: 143,
}


class Stop:
    """Whether somebody asked the process to stop, and with which exit code.

    Files are written whole or not at all, so a signal may end what it meets, by raising Interrupted there; where work
    is to be saved first it is `deferred` until somebody looks.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        self.ends_at_once = False
        # What a second SIGINT still does, from within the handler.
        self.before_exit: Callable[[], None] = lambda: None

    @property
    def requested(self) -> bool:
        """True once a signal has come."""
        return self.exit_code != 0

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.requested:
            raise Interrupted("interrupted; the same command goes on from the last checkpoint", self.exit_code)

    def request(self, number: signal.Signals) -> None:
        """Stop as if that signal had come."""
        self.exit_code = EXIT_CODES[number]

    def listen(self, *, ends_at_once: bool = True) -> Stop:
        """Take over these signals of this process; a second SIGINT ends it without any more ado."""
        self.ends_at_once = ends_at_once
        for number in EXIT_CODES:
            # What `nohup` told this process to ignore stays ignored.
            if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN):
                signal.signal(number, self._receive)
        return self

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal waits until somebody looks: at the latest at the end, where it raises Interrupted."""
        before, self.ends_at_once = self.ends_at_once, False
        try:
            yield
        finally:
            self.ends_at_once = before
        if self.ends_at_once:
            self.check()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, a signal raises Interrupted wherever the process is, one that has come already at the beginning."""
        self.check()
        before, self.ends_at_once = self.ends_at_once, True
        try:
            yield
        finally:
            self.ends_at_once = before

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.exit_code == EXIT_CODES[signal.SIGINT]:
            self.before_exit()
            os._exit(self.exit_code)
        # A second signal must not end the cleaning up after the first.
        first = not self.requested
        self.request(signal.Signals(number))
        if first and self.ends_at_once:
            self.check()
