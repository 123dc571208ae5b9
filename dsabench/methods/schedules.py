"""Schedules as pure functions of `progress`, the share of training done, in [0, 1]."""

from __future__ import annotations

import math


def cosine(start: float, end: float, progress: float) -> float:
    """Half a period of a cosine from `start` to `end`: the momentum of teachers (BYOL, arXiv 2006.07733, 3.2)."""
    return end - (end - start) * (1.0 + math.cos(math.pi * progress)) / 2.0


def warmup(start: float, end: float, share: float, progress: float) -> float:
    """A line from `start` to `end` over the first `share` of training, and `end` from there on."""
    return end if progress >= share else start + (end - start) * progress / share
