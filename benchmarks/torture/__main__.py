"""One table: kind of harm, tried, survived, lost. Ends with 1 if anything was lost."""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy
import torch

import dsabench
from benchmarks.torture.concurrency import concurrency
from benchmarks.torture.corruption import corruption
from benchmarks.torture.disk import disk
from benchmarks.torture.downloads import downloads
from benchmarks.torture.kill import kill, kill_workers
from benchmarks.torture.names import names
from benchmarks.torture.old_stores import old_stores
from benchmarks.torture.outcome import Outcome
from benchmarks.torture.pickles import pickles
from benchmarks.torture.process import warm
from benchmarks.torture.signals import signals
from benchmarks.torture.suites import fuzz, numerics
from benchmarks.torture.traps import traps

Kind = Callable[[Outcome, Path, bool], None]

KINDS: dict[str, Kind] = {
    "kill": kill,
    "kill-workers": kill_workers,
    "corruption": corruption,
    "disk": disk,
    "concurrency": concurrency,
    "signals": signals,
    "pickles": pickles,
    "archives": traps,
    "names": names,
    "downloads": downloads,
    "numerics": numerics,
    "old-stores": old_stores,
    "fuzz": fuzz,
}


def main() -> int:
    """Do the kinds of harm that are asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(KINDS), help="one kind of harm; repeatable")
    parser.add_argument("--share", choices=["small", "all"], default="all", help="small: a share that takes minutes")
    parser.add_argument("--keep", type=Path, help="a folder to work in, which is kept")
    asked = parser.parse_args()
    warm()
    root = asked.keep or Path(tempfile.mkdtemp(prefix="torture-"))
    outcomes = []
    try:
        for name in asked.only or KINDS:
            place = root.resolve() / name
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            outcomes.append(outcome := Outcome(name))
            KINDS[name](outcome, place, asked.share == "small")
            print(row(outcome.end()), file=sys.stderr, flush=True)
    finally:
        if asked.keep is None:
            shutil.rmtree(root, ignore_errors=True)
    print(table(outcomes))
    return int(any(outcome.lost or not outcome.tried for outcome in outcomes))


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as Markdown, with when and with what they were found, and every loss."""
    versions = f"dsabench {dsabench.__version__}, torch {torch.__version__}, numpy {numpy.__version__}"
    where = f"{datetime.now(UTC):%Y-%m-%d}; {versions}, Python {platform.python_version()}, {platform.system()}"
    lines = [where, "", "| kind of harm | tried | survived | lost | minutes |", "|---|---:|---:|---:|---:|"]
    lines += map(row, outcomes)
    lost = [f"- {outcome.kind}: {what}" for outcome in outcomes for what in outcome.lost]
    return "\n".join([*lines, *([""] if lost else []), *lost])


def row(outcome: Outcome) -> str:
    """One kind of harm as a line of the table."""
    survived = outcome.tried - len(outcome.lost)
    cells = (outcome.kind, outcome.tried, survived, len(outcome.lost), f"{outcome.took_s / 60:.1f}")
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
