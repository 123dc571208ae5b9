"""A Slurm of one node: an array of eight runs, one killed and one preempted, all of which end as without.

It takes four minutes of two cores, so it is asked for: `make slurm`.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import TINY
from real_slurm import asked, cannot_start, started

from dsabench.tables.rows import comparable, read_csv
from dsabench.training.lock import holder, newest_number

WHY_NOT = cannot_start() if os.environ.get("REAL_SLURM") else "takes minutes; asked for by: make slurm"
COMPARE = ("compare", "simclr", "byol", *TINY, "--epochs", "150", "--seeds", "0-3", "--probe", "knn", "--runs")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    with started(tmp_path / "slurm") as environment:
        yield environment | {"PYTHONPATH": f"{Path(__file__).parents[2]}:{os.environ.get('PYTHONPATH', '')}"}


def start(*words: object, cwd: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dsabench.cli", *map(str, words)]
    return subprocess.Popen(command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 600
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
@pytest.mark.timeout(3600)
def test_eight_runs_one_killed_one_preempted(environment: dict[str, str], tmp_path: Path) -> None:
    def working() -> list[Path]:
        folders = [path.parent for path in (tmp_path / "runs").glob("*/*/*/run.json")]
        return [one for one in folders if holder(one) and list(one.glob("checkpoints/*"))]

    slurm = ("--launcher", "slurm", "--slurm", "partition=low,time=00:30:00,signal=USR2@30")
    process = start(*COMPARE, "runs", *slurm, "--output", "theirs", cwd=tmp_path, env=environment)
    wait_for(working, process)
    killed = working()[0]
    found = holder(killed)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    # Somebody closes the command, and somebody else takes it up.
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(r"8 runs on Slurm: .*queued; they stay there", said)
    process = start(*COMPARE, "runs", *slurm, "--output", "theirs", cwd=tmp_path, env=environment)
    wait_for(lambda: len(working()) >= 2, process)
    urgent = asked("sbatch", "--partition=high", "--output=/dev/null", "--wrap=sleep 3", environment=environment)
    assert "Submitted" in urgent
    wait_for(lambda: "Restarts=1" in asked("scontrol", "show", "job", environment=environment), process)
    _, said = process.communicate(timeout=900)
    assert process.returncode == 0, said
    print(said)
    assert "8 runs on Slurm: 8 done" in said
    # The killed one was claimed anew, and so was the preempted one when it came back.
    again = [path for path in (tmp_path / "runs").glob("*/*/*") if newest_number(path) > 1]
    assert killed in again
    assert len(again) >= 2
    alone = start(*COMPARE, "alone", "--output", "ours", "--jobs", 2, cwd=tmp_path, env=environment)
    _, said = alone.communicate(timeout=900)
    assert alone.returncode == 0, said
    rows = [list(map(comparable, read_csv(tmp_path / f"{name}.csv"))) for name in ("theirs", "ours")]
    assert rows[0] == rows[1]
    assert len({row.run_id for row in read_csv(tmp_path / "ours.csv")}) == 8
