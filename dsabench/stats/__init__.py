"""Paired seeds: exact tests, the intervals that invert them, Holm, and the verdict of a comparison.

Intervals that resample seeds and test images are in `dsabench.stats.bootstrap`, which needs torch.
"""

from __future__ import annotations

from dsabench.stats.comparison import Comparison, GuardCheck
from dsabench.stats.outcomes import MetricKey
from dsabench.stats.paired import (
    holm,
    mcnemar,
    sign_flip_interval,
    sign_flip_p,
    skewed,
    smallest_p,
    t_interval,
)
from dsabench.stats.ranks import signed_rank_interval, signed_rank_p
from dsabench.stats.summary import gap_closed, summarise
from dsabench.stats.verdict import MARGIN, SMALLEST_EFFECT, Guard

__all__ = [
    "MARGIN",
    "SMALLEST_EFFECT",
    "Comparison",
    "Guard",
    "GuardCheck",
    "MetricKey",
    "gap_closed",
    "holm",
    "mcnemar",
    "sign_flip_interval",
    "sign_flip_p",
    "signed_rank_interval",
    "signed_rank_p",
    "skewed",
    "smallest_p",
    "summarise",
    "t_interval",
]
