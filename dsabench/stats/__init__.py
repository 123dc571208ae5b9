"""Paired seeds: exact tests, the intervals that invert them, Holm, and the verdict of a comparison.

Intervals that resample seeds and test images are in `dsabench.stats.bootstrap`, which needs torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dsabench.stats.limits import MARGIN, SMALLEST_EFFECT

if TYPE_CHECKING:
    from dsabench.stats.arms import gap_closed, summarise
    from dsabench.stats.comparison import Comparison, GuardCheck
    from dsabench.stats.outcomes import MetricKey
    from dsabench.stats.paired import holm, mcnemar, sign_flip_interval, sign_flip_p, skewed, smallest_p, t_interval
    from dsabench.stats.signed_rank import signed_rank_interval, signed_rank_p
    from dsabench.stats.verdict import Guard

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

# SciPy takes longer to import than all the words of a command to check, so what needs it is imported when asked for.
_HOMES = {
    "Comparison": "comparison",
    "Guard": "verdict",
    "GuardCheck": "comparison",
    "MetricKey": "outcomes",
    "gap_closed": "arms",
    "holm": "paired",
    "mcnemar": "paired",
    "sign_flip_interval": "paired",
    "sign_flip_p": "paired",
    "signed_rank_interval": "signed_rank",
    "signed_rank_p": "signed_rank",
    "skewed": "paired",
    "smallest_p": "paired",
    "summarise": "arms",
    "t_interval": "paired",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"dsabench.stats.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
