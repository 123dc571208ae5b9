"""Harm that tests do: drawn command lines and files in full numbers, and numbers at their limits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.torture.outcome import Outcome

ROOT = Path(__file__).parents[2]
PASSED = re.compile(r"^(\S+::\S+.*?) (PASSED|FAILED|ERROR)", re.MULTILINE)
DRAWN = re.compile(r"- (\d+) passing examples", re.MULTILINE)


def fuzz(outcome: Outcome, root: Path, small: bool) -> None:
    """Draw command lines and files (`tests/trust`), all of them or as many as `make test` does."""
    suite(outcome, ["tests/trust/test_fuzz.py", "tests/trust/test_record.py"], {} if small else {"TORTURE": "1"})


def numerics(outcome: Outcome, root: Path, small: bool) -> None:
    """Numbers at their limits: a literal computation's value, or a clear error."""
    suite(outcome, ["tests/trust/test_numerics.py"], {})


def suite(outcome: Outcome, paths: list[str], more: dict[str, str]) -> None:
    """Run tests; each is as many tries as it drew examples, and lost whole where it fails."""
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--hypothesis-show-statistics"]
    command += ["--timeout", "3600", *paths]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **more}, text=True, capture_output=True, check=False)
    results = PASSED.findall(done.stdout)
    for name, result in results:
        outcome.add(name, [] if result == "PASSED" else [result])
    # A drawn example is a try of its own; one of each test is counted already.
    outcome.tried += sum(int(count) - 1 for count in DRAWN.findall(done.stdout))
    if not results:
        outcome.add(" ".join(paths), [done.stdout[-2000:]])
