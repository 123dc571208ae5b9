"""`--devices`: processes that one command starts, and their common end."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from command import TINY, dsabench, end, start

from dsabench.errors import UsageError
from dsabench.launch.processes import Place, place
from dsabench.training.checkpoint import read_checkpoint


def test_what_torchrun_started_is_joined_and_not_contradicted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place(None, 1) == Place(0, 1, started=False)
    assert place(4, 1) == Place(0, 4, started=False)
    for size, rank in (("WORLD_SIZE", "RANK"), ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID")):
        with monkeypatch.context() as around:
            around.setenv(size, "4")
            around.setenv(rank, "3")
            assert place(None, 1) == place(2, 2) == Place(3, 4, started=True)
            with pytest.raises(UsageError, match=r"are 2 processes, and (torchrun|srun) started 4"):
                place(2, 1)
    with pytest.raises(UsageError, match="NODE_RANK"):
        place(2, 2)
    with pytest.raises(UsageError, match="'fsdp'"):
        place(2, 1, "fsdp")


def test_a_batch_that_does_not_divide_is_refused_before_anything_starts(tmp_path: Path) -> None:
    refused = dsabench("pretrain", *TINY, "--devices", 3, "--runs", tmp_path)
    assert refused.code == 2
    assert "a batch of 64 images cannot be split evenly over 3 processes; --batch-size 63 or 66 would do" in refused.err
    assert not list(tmp_path.iterdir())


def test_two_devices_train_one_run_and_one_speaks(tmp_path: Path) -> None:
    done = end(start("pretrain", *TINY, "--devices", 2, "--json", cwd=tmp_path))
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["status"] == "finished"
    assert json.loads((tmp_path / told["run_dir"] / "run.json").read_text())["n_devices"] == 2
    assert done.err.count("256 images") <= 1
    assert "arning" not in done.err


def test_a_process_that_is_killed_ends_the_run_with_one_line(tmp_path: Path) -> None:
    process = start("pretrain", *TINY, "--devices", 2, "--epochs", 5000, "-q", cwd=tmp_path)
    try:
        until = time.monotonic() + 200
        while not list(tmp_path.rglob("step-*.safetensors")):
            assert process.poll() is None, end(process).err
            assert time.monotonic() < until
            time.sleep(0.2)
        (child,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        os.kill(child, signal.SIGKILL)
        begun = time.monotonic()
        lost = end(process)
        assert time.monotonic() - begun < 30
    finally:
        process.kill()
    assert lost.code == 1
    assert lost.err.splitlines() == [
        "dsabench: another process of this run ended or did not answer for 20 s; "
        "the same command goes on from the last checkpoint"
    ]
    (record,) = tmp_path.rglob("run.json")
    state = json.loads(record.read_text())
    assert state["status"] == "interrupted"
    _, meta = read_checkpoint(record.parent / "checkpoints" / state["checkpoints"][-1]["file"])
    assert meta["step"] == state["step"] > 0
