"""Signals as a request to stop: the work is saved first, then the process ends with the shell's exit code."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from dsabench.errors import Interrupted

# Slurm sends SIGUSR1 before it takes a node away, a terminal that closes SIGHUP; scripts expect the code of SIGTERM.
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143, signal.SIGHUP: 143}


class Stop:
    """Whether somebody asked the process to stop, and with which exit code."""

    def __init__(self) -> None:
        self.exit_code = 0
        # What a second SIGINT still does, from within the handler.
        self.at_once: Callable[[], None] = lambda: None

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

    def listen(self) -> Stop:
        """Take over these signals of this process; a second SIGINT ends it at once."""
        for number in EXIT_CODES:
            # What `nohup` told this process to ignore stays ignored.
            if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN):
                signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.exit_code == EXIT_CODES[signal.SIGINT]:
            self.at_once()
            os._exit(self.exit_code)
        self.request(signal.Signals(number))
