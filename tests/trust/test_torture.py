"""A share of `make torture`: kills that leave what no harm leaves, stores of every version, and its own counting."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.torture.outcome import Outcome, spread

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
def test_a_share_of_the_torture_loses_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks.torture", "--share", "small", "--only", "kill", "--only", "old-stores"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| kill | 9 | 9 | 0 |" in done.stdout
    assert "| old-stores | " in done.stdout


def test_what_is_lost_is_counted_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome("kill")
    outcome.add("one", [])
    outcome.add("two", ["run.json is missing", "a traceback"])
    assert (outcome.tried, outcome.lost) == (2, ["two: run.json is missing; a traceback"])
    assert capsys.readouterr().err == "LOST kill: two: run.json is missing; a traceback\n"


@pytest.mark.parametrize(("count", "most"), [(1, 1), (5, 9), (100, 7), (100, 2), (3, 1)])
def test_a_spread_meets_the_first_and_the_last(count: int, most: int) -> None:
    found = spread(count, most)
    assert len(found) == min(count, most) == len(set(found))
    assert found[-1] == count
    assert found[0] == 1 or most == 1
