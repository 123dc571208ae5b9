"""How far a run has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Position:
    """How far a run has come: steps done, seconds spent, the sums of the epoch under way, the rows of past ones."""

    step: int
    wall_s: float
    sums: dict[str, float]
    log: list[dict[str, float]]
