"""The curves of a run: its `log.csv`, by column."""

from __future__ import annotations

import csv
import math
from pathlib import Path


def read_curves(folder: Path) -> dict[str, list[float]]:
    """The log of the run in a folder by column, a value an epoch, nan where there is none.

    Empty where there is no log, or it cannot be read: a picture is no reason to fail.
    """
    try:
        header, *lines = csv.reader((folder / "log.csv").read_text(encoding="utf-8").splitlines())
        rows = [dict(zip(header, map(_number, line), strict=False)) for line in lines]
    except (OSError, UnicodeDecodeError, ValueError, csv.Error):
        return {}
    return {name: [row.get(name, math.nan) for row in rows] for name in header} if rows else {}


def _number(text: str) -> float:
    return float(text) if text else math.nan
