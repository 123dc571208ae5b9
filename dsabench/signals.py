"""Signals as a request to stop: the work is saved first, then the process ends with the shell's exit code."""

from __future__ import annotations

import os
import signal
from types import FrameType

from dsabench.errors import Interrupted

# Slurm sends SIGUSR1 before it takes a node away; scripts expect the code of SIGTERM for it.
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143}


class Stop:
    """Whether somebody asked the process to stop, and with which exit code."""

    def __init__(self) -> None:
        self.exit_code = 0

    @property
    def requested(self) -> bool:
        """True once a signal has come."""
        return self.exit_code != 0

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.requested:
            raise Interrupted("interrupted; the same command goes on from the last checkpoint", self.exit_code)

    def listen(self) -> Stop:
        """Take over SIGINT, SIGTERM and SIGUSR1 of this process; a second SIGINT ends it at once."""
        for number in EXIT_CODES:
            signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.exit_code == EXIT_CODES[signal.SIGINT]:
            os._exit(self.exit_code)
        self.exit_code = EXIT_CODES[signal.Signals(number)]
