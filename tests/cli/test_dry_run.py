"""`--dry-run`: what runs would take, held against what they took."""

import json
import time
from pathlib import Path

import pytest
from command import TINY, Result, dsabench

from dsabench.training.estimate import Estimate, Total, total

ARMS = ("simclr", "simclr+dsa")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ok(result: Result) -> Result:
    assert result.code == 0, result.err
    return result


def estimate(status: str = "new", seconds: float = 1.0, memory_mb: int = 100, disk_mb: int = 10) -> Estimate:
    return Estimate("simclr s0", "0", "", status, 8, 0, 0.1, seconds, memory_mb, disk_mb, 1, "steps")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    arguments = ("compare", *ARMS, *TINY, "--jobs", 2, "--dry-run")
    plans = json.loads(ok(dsabench(*arguments, "--seeds", "0-1", "--json")).out)
    assert [plan["run"] for plan in plans] == ["simclr s0", "simclr+dsa s0", "simclr s1", "simclr+dsa s1"]
    assert len({plan["run_id"] for plan in plans}) == 4
    for plan in plans:
        assert (plan["status"], plan["steps"], plan["steps_done"], plan["known_by"]) == ("new", 4, 0, "steps")
        assert plan["run_dir"].endswith(plan["run_id"])
        assert plan["seconds"] == pytest.approx(4 * plan["step_s"], abs=0.051)
    assert list(tmp_path.iterdir()) == []
    alone = ok(dsabench(*arguments, "--seeds", "2", "--json"))
    assert [plan["run"] for plan in json.loads(alone.out)] == ["simclr s2", "simclr+dsa s2"]
    assert "--seeds 2: one seed, number 2; for 2 seeds: 0-1" in alone.err.splitlines()
    assert (
        "warning: 1 pair against simclr, 2 seeds: p cannot be below .500, so that none can reach .05; 6 seeds would do"
        in ok(dsabench(*arguments, "--seeds", "0-1")).err.splitlines()
    )
    # The guards are measured, whatever was asked for, and that is one line.
    said = "measured too, for the verdict: "
    assert said not in ok(dsabench(*arguments)).err
    line = f"{said}cdnv, fewshot (see --primary and --guard)"
    assert line in ok(dsabench(*arguments, "--probe", "linear", "--probe", "knn")).err.splitlines()


def test_the_estimate_is_near_the_truth_and_knows_what_is_there(tmp_path: Path) -> None:
    arguments = ("pretrain", *TINY, "--method", "simclr+dsa", "--epochs", 4)
    (before,) = json.loads(ok(dsabench(*arguments, "--dry-run", "--json")).out)
    begun = time.monotonic()
    ok(dsabench(*arguments, "-q", "--json"))
    took = time.monotonic() - begun
    (state,) = (json.loads(path.read_text()) for path in tmp_path.glob("runs/*/*/*/run.json"))
    # Libraries and all, as the run itself says it.
    assert before["memory_mb"] == pytest.approx(state["peak_mem_mb"], rel=0.25)
    assert before["seconds"] < took + 1
    files = [path.stat().st_size for path in tmp_path.glob("runs/**/*.safetensors")]
    # Two generations of checkpoints and the features, of which so short a run has one and none yet.
    assert sum(files) / 1e6 < before["disk_mb"] < 3 * sum(files) / 1e6
    (done,) = json.loads(ok(dsabench(*arguments, "--dry-run", "--json")).out)
    assert (done["status"], done["seconds"], done["disk_mb"], done["steps_done"]) == ("finished", 0, 0, 16)
    # Another seed, and another number of epochs, cost what this one did, step by step.
    other = ("pretrain", *TINY, "--method", "simclr+dsa", "--epochs", 8, "--seed", 1, "--dry-run")
    (known,) = json.loads(ok(dsabench(*other, "--json")).out)
    assert known["known_by"] == "the store"
    assert known["step_s"] == pytest.approx(state["wall_s"] / 16, rel=1e-6)
    assert known["memory_mb"] == round(state["peak_mem_mb"])
    text = ok(dsabench(*arguments, "--dry-run")).out
    assert "1 run, 1 finished already" in text
    assert "(as finished runs took); evaluation" in ok(dsabench(*other)).out


def test_the_total_is_of_runs_side_by_side(tmp_path: Path) -> None:
    found = [estimate(seconds=3), estimate("finished", seconds=0), estimate(seconds=2), estimate(seconds=2)]
    whole = total(found, 2, 2, tmp_path / "runs", "cpu")
    # 3 beside 2 + 2.
    assert (whole.seconds, whole.runs, whole.finished, whole.memory_mb, whole.disk_mb) == (4, 4, 1, 200, 30)
    # More side by side than there is room for takes memory and no less time.
    crowd = total(found, 50, 2, tmp_path, "cpu")
    assert (crowd.seconds, crowd.jobs, crowd.memory_mb) == (4, 3, 300)
    assert total(found, 1, 2, tmp_path, "cpu").seconds == 7
    assert total([estimate("finished", seconds=0)], 2, 2, tmp_path, "cpu").seconds == 0


def test_what_cannot_fit_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    fits = Total(2, 0, 2, 1.0, 200, 300, 20, 30)
    assert fits.warnings() == []
    assert Total(2, 0, 2, 1.0, 200, None, 20, None).warnings() == []
    memory, disk = Total(2, 0, 2, 1.0, 2000, 300, 20, 10).warnings()
    assert "2,000 MB of memory are needed and 300 MB are free" in memory
    assert "20 MB of disk are needed and 10 MB are free" in disk


def test_a_step_that_takes_too_long_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsabench.training.price.LONGEST_STEP_S", 0.0)
    result = ok(dsabench("pretrain", *TINY, "--dry-run", "--json"))
    (plan,) = json.loads(result.out)
    assert plan["known_by"] == "a forward pass"
    assert plan["step_s"] > 0
    # Nor is a run that would fail any reason for a dry run to.
    (plan,) = json.loads(ok(dsabench("pretrain", *TINY, "--method", "simclr[lr=1e30]", "--dry-run", "--json")).out)

    assert plan["status"] == "new"


def test_what_needs_no_training_takes_none() -> None:
    (plan,) = json.loads(ok(dsabench("pretrain", *TINY, "--method", "random", "--dry-run", "--json")).out)
    assert (plan["steps"], plan["seconds"]) == (0, 0)
