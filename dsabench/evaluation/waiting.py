"""What a person who waits for a long evaluation is told: a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from dsabench.progress import LINE_EVERY_S
from dsabench.training.run import say


class Waiting:
    """Says how far something has come, on stderr and every 30 s at most: called with the share done, in [0, 1].

    `clock` gives seconds and never goes back. What goes on from a checkpoint is timed from there.
    """

    def __init__(
        self, what: str, *, clock: Callable[[], float] = time.monotonic, tell: Callable[[str], None] = say
    ) -> None:
        self.what, self.clock, self.tell = what, clock, tell
        self.began, self.last, self.first = clock(), clock(), -1.0

    def __call__(self, share: float) -> None:
        now = self.clock()
        if self.first < 0:
            self.began, self.first = now, share
        if now - self.last >= LINE_EVERY_S and share > self.first:
            left = (now - self.began) / (share - self.first) * (1 - share)
            self.last = now
            self.tell(f"{self.what}: {share:.0%}, about {left:.0f} s left")
