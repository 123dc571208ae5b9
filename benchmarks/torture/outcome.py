"""What came of one kind of harm: how often it was done, and what was lost."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

LISTED = frozenset({0, 1, 2, 3, 4, 5, 130, 143})
# How a command says that it met a defect of its own.
DEFECTS = ("Traceback", "something that should not happen")
# A line of progress comes at most so often, in seconds.
SAY_S = 20.0


@dataclass
class Outcome:
    """A row of the table: `lost` says of each loss what was done and what came of it."""

    kind: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)
    took_s: float = 0.0

    def add(self, what: str, wrong: Sequence[str]) -> None:
        """One more try of `what`; it is lost where anything is `wrong`."""
        self.tried += 1
        if wrong:
            self.lost.append(f"{what}: {'; '.join(wrong)}")
            print(f"LOST {self.kind}: {self.lost[-1]}", file=sys.stderr, flush=True)
        if time.monotonic() - self.said >= SAY_S:
            self.said = time.monotonic()
            print(f"{self.kind}: {self.tried} tried, {len(self.lost)} lost ({what})", file=sys.stderr, flush=True)

    def end(self) -> Outcome:
        """Note how long it took."""
        self.took_s = time.monotonic() - self.began
        return self


def spread(count: int, most: int) -> list[int]:
    """At most `most` of 1 to `count`, the first and the last among them, evenly spread."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(place * (count - 1) / (most - 1)) for place in range(most)}) if most > 1 else [count]
