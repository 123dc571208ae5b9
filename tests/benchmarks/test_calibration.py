"""The calibration table: its quick p is the package's, its command runs, and what is committed has its rows."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration import WORLDS, arms, sign_flip_p
from dsabench import stats

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("world", ["normal", "rare losses"])
def test_the_p_of_many_at_once_is_that_of_each(world: str) -> None:
    ours, theirs = arms(world, 8, 50)
    differences = np.concatenate([ours - theirs, np.rint(20 * (ours - theirs)) / 10])
    expected = [stats.sign_flip_p(row.tolist()) for row in differences]
    assert sign_flip_p(differences).tolist() == expected


def test_every_null_has_no_difference_in_the_mean() -> None:
    for world in set(WORLDS) - {"heavy-tailed"}:
        ours, theirs = arms(world, 10, 20_000)
        assert np.nanmean(ours - theirs) == pytest.approx(0, abs=0.003), world


def test_the_command_prints_the_rows_that_are_committed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.calibration", "--smoke", "--json"],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["rows"]
    head, *lines = (ROOT / "results" / "calibration.csv").read_text().splitlines()
    assert head == "# python -m benchmarks.calibration"
    committed = list(csv.DictReader(lines))
    names = ("null", "seeds", "rule")
    assert [[str(row[name]) for name in names] for row in found] == [[row[name] for name in names] for row in committed]
    for row in committed:
        assert float(row["better"]) <= float(row["gains"]) <= float(row["p_below_05"])
        if row["null"] != "rare losses" and row["rule"] == "one look at one metric":
            assert float(row["better"]) <= 0.06
