"""Paired seeds: exact sign-flip tests, the intervals that invert them, Holm, and the verdict of a comparison."""

from __future__ import annotations

from dsabench.stats.comparison import Comparison, MetricKey, gap_closed, summarise
from dsabench.stats.paired import holm, mcnemar, sign_flip_interval, sign_flip_p, smallest_p, t_interval

__all__ = [
    "Comparison",
    "MetricKey",
    "gap_closed",
    "holm",
    "mcnemar",
    "sign_flip_interval",
    "sign_flip_p",
    "smallest_p",
    "summarise",
    "t_interval",
]
