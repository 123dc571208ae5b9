"""How long what is left of many runs will take."""

from __future__ import annotations

from collections.abc import Sequence


class Pace:
    """What the runs of this command have taken so far, as far as they were trained by it.

    A run that was there already has no part in it: neither its work nor the time that it took counts.
    """

    def __init__(self, total_runs: int) -> None:
        self._total_runs = total_runs
        self._side_by_side = 1
        # When the training of each run was first heard of, with the share done then; and what it took for how much.
        self._began: dict[str, tuple[float, float]] = {}
        self._took: dict[str, tuple[float, float]] = {}

    def note(self, run: str, share: float, now: float, *, training: bool, active: int) -> None:
        """Take note that a share of a run is done at the time `now` (s), with so many runs under way."""
        if training:
            self._began.setdefault(run, (now, share))
        if run in self._began:
            began, first = self._began[run]
            self._took[run] = now - began, share - first
        self._side_by_side = max(self._side_by_side, active)

    def left(self, shares: Sequence[float], ended: int) -> float | None:
        """Seconds until all runs have ended, with these shares done of those under way; None where nothing is known.

        As many as there were so far run side by side.
        """
        seconds = sum(took for took, _ in self._took.values())
        done = sum(share for _, share in self._took.values())
        if seconds <= 0 or done <= 0:
            return None
        rest = [1 - share for share in shares]
        runs = sum(rest) + self._total_runs - ended - len(rest)
        return seconds / done * max(runs / self._side_by_side, *rest, 0.0)
