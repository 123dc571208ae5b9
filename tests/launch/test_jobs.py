"""Workers: they end with the process that started them, however it ends."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import TINY, start

LONG = [*TINY, "--epochs", "100000"]


def children(parent: int) -> set[int]:
    """The processes that a process has started."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(stat[1]) == parent:
                found.add(int(folder.name))
    return found


def training(runs: Path) -> int:
    """How many runs have been saved in the middle."""
    return len(list(runs.glob("*/*/*/checkpoints/*.safetensors")))


def is_alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


# Three processes import torch, each on a share of the machine: where others work too that takes minutes.
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells who started whom")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_workers_end_with_the_parent_alone(number: signal.Signals, tmp_path: Path) -> None:
    process = start("compare", "simclr", "byol", *LONG, "--seeds", "0", "--jobs", "2", "--runs", "runs", cwd=tmp_path)
    try:
        wait_for(lambda: training(tmp_path / "runs") >= 2)
        workers = children(process.pid)
        assert len(workers) >= 2
        # The parent alone, and not its group, as a scheduler or an impatient user does it.
        os.kill(process.pid, number)
        process.communicate(timeout=120)
        assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 143)
        wait_for(lambda: not any(map(is_alive, workers)))
    finally:
        process.kill()
    # They have let go of their runs, which the same command goes on with.
    assert training(tmp_path / "runs") >= 2


@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells who started whom")
def test_an_interrupt_before_the_workers_listen_is_one_line(tmp_path: Path) -> None:
    process = start("compare", "simclr", "byol", *LONG, "--seeds", "0", "--jobs", "2", "--runs", "runs", cwd=tmp_path)
    try:
        # They have been started, and are still importing what they need.
        wait_for(lambda: len(children(process.pid)) >= 2)
        for number in (*children(process.pid), process.pid):
            os.kill(number, signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "KeyboardInterrupt" not in err
    assert "interrupted; the same command goes on" in err
