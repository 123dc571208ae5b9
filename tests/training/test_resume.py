"""Killed, interrupted, damaged, moved: a run ends as if nothing had happened, or is refused."""

import csv
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import TINY, Result, dsabench, end, start
from PIL import Image
from torch import Tensor

from dsabench.errors import Interrupted
from dsabench.signals import EXIT_CODES, Stop
from dsabench.tables.rows import comparable, read_csv
from dsabench.training import loop as train
from dsabench.training.checkpoint import read_checkpoint
from dsabench.training.lock import acquire, holder
from dsabench.training.state import State

# 160 steps, so that a process is still at work when it is told to stop.
LONG = (*TINY, "--epochs", "40", "--method", "simclr+dsa-nested", "--runs", "runs")
# 8 steps, of which every one is saved where that is asked for.
SHORT = (*TINY, "--epochs", "2", "--method", "byol+dsa-nested")
EVERY_STEP = "import dsabench.training.loop\ndsabench.training.loop.CHECKPOINT_S = 0.0"


def only_run(runs: Path) -> Path:
    (folder,) = (path.parent for path in runs.glob("*/*/*/run.json"))
    return folder


def state_of(runs: Path) -> dict[str, Any]:
    state = json.loads((only_run(runs) / "run.json").read_text())
    assert isinstance(state, dict)
    return state


def steps_saved(runs: Path) -> int:
    """The steps of the newest checkpoint, 0 where there is none yet; a reader never sees a file half-written."""
    if not list(runs.glob("*/*/*/run.json")):
        return 0
    return int(state_of(runs).get("step", 0))


def log_of(runs: Path) -> list[dict[str, str]]:
    """The log without its time columns."""
    rows = csv.DictReader((only_run(runs) / "log.csv").read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in ("wall_s", "images_per_s")} for row in rows]


def rows_of(runs: Path, table: Path) -> list[tuple[object, ...]]:
    result = dsabench("eval", "--runs", runs, "--probe", "knn5", "--probe", "crowding", "--output", table)
    assert result.code == 0, result.err
    return list(map(comparable, read_csv(table)))


def assert_same_run(ours: Path, theirs: Path, tmp_path: Path) -> None:
    """Bit for bit, time aside."""
    assert state_of(ours)["status"] == state_of(theirs)["status"] == "finished"
    assert state_of(ours)["weights_sha256"] == state_of(theirs)["weights_sha256"]
    (tensors, meta), (others, other_meta) = (
        read_checkpoint(only_run(runs) / "checkpoints" / state_of(runs)["checkpoints"][-1]["file"])
        for runs in (ours, theirs)
    )
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())
    assert meta["step"] == other_meta["step"]
    assert log_of(ours) == log_of(theirs)
    assert rows_of(ours, tmp_path / "ours.csv") == rows_of(theirs, tmp_path / "theirs.csv")


def stopped(number: int, runs: Path, beyond: int, cwd: Path) -> Result:
    """Train in a process of its own, and signal it once it has saved more than `beyond` steps."""
    process = start("pretrain", *LONG, cwd=cwd, before=EVERY_STEP)
    try:
        until = time.monotonic() + 200
        while steps_saved(runs) <= beyond:
            assert process.poll() is None, end(process)
            assert time.monotonic() < until, "it saved nothing"
            time.sleep(0.005)
        process.send_signal(number)
        return end(process)
    finally:
        process.kill()


def test_killed_interrupted_and_terminated_a_run_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    steps = 0
    for number, code, status in (
        (signal.SIGKILL, -9, "running"),
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGKILL, -9, "running"),
        (signal.SIGTERM, 143, "interrupted"),
    ):
        result = stopped(number, runs, steps + 3, tmp_path)
        assert result.code == code, result.err
        assert result.out == ""
        state = state_of(runs)
        assert state["status"] == status
        if code > 0:
            assert result.err.splitlines()[-1] == (
                "dsabench: interrupted; the same command goes on from the last checkpoint"
            )
        # What a killed run left can be read, and so can what an interrupted one saved last.
        saved = state["checkpoints"]
        assert 1 <= len(saved) <= 2
        _, meta = read_checkpoint(only_run(runs) / "checkpoints" / saved[-1]["file"])
        assert steps < meta["step"] == state["step"] < 160
        steps = meta["step"]
    finished = dsabench("pretrain", *LONG[:-1], runs)
    assert finished.code == 0, finished.err
    assert dsabench("pretrain", *LONG[:-1], tmp_path / "whole", "-q").code == 0
    assert_same_run(runs, tmp_path / "whole", tmp_path)
    files = {path.name for path in only_run(runs).rglob("*") if path.is_file()}
    assert not {name for name in files if name.endswith(".tmp")}


@pytest.mark.parametrize("number", list(EXIT_CODES))
def test_a_signal_is_a_request_to_stop(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = {known: signal.getsignal(known) for known in EXIT_CODES}
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    try:
        # Whoever runs the tests may ignore it, as nohup does.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        stop = Stop()
        stop.check()
        stop.listen()
        with pytest.raises(Interrupted) as caught, stop.deferred():  # noqa: PT012  (where it comes is what is tested)
            os.kill(os.getpid(), number)
            assert stop.requested
            left.append(0)
        assert left == [0]
        left.clear()
        assert caught.value.exit_code == (130 if number == signal.SIGINT else 143)
        with pytest.raises(Interrupted), stop.at_once():
            pytest.fail("it goes on")
        # A second Ctrl-C does not wait for anything.
        os.kill(os.getpid(), number)
        assert left == ([130] if number == signal.SIGINT else [])
    finally:
        for known, handler in handlers.items():
            signal.signal(known, handler)


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run store with a run that was interrupted after 6 of its 8 steps, and had saved each."""
    runs = tmp_path / "runs"
    record = train.step

    def step(state: State, views: Any) -> dict[str, Tensor]:
        terms = record(state, views)
        if state.position.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return terms

    with monkeypatch.context() as patch:
        patch.setattr(train, "step", step)
        patch.setattr(train, "CHECKPOINT_S", 0.0)
        result = dsabench("pretrain", *SHORT, "--runs", runs)
    assert result.code == 143
    assert [saved["file"] for saved in state_of(runs)["checkpoints"]] == [
        "step-00000005.safetensors",
        "step-00000006.safetensors",
    ]
    return runs


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, uninterrupted."""
    runs = tmp_path_factory.mktemp("whole") / "runs"
    assert dsabench("pretrain", *SHORT, "--runs", runs).code == 0
    return runs


def checkpoints(runs: Path) -> list[Path]:
    """Oldest first."""
    return sorted((only_run(runs) / "checkpoints").iterdir())


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def one_bit_flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "word"), [(cut_short, "damaged"), (one_bit_flipped, "damaged"), (removed, "missing")]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    damage: Callable[[Path], None], word: str, interrupted: Path, whole: Path, tmp_path: Path
) -> None:
    assert len(checkpoints(interrupted)) == 2
    newest = checkpoints(interrupted)[-1]
    damage(newest)
    result = dsabench("pretrain", *SHORT, "--runs", interrupted)
    assert result.code == 0
    warnings = [line for line in result.err.splitlines() if line.startswith("warning: the checkpoint")]
    assert warnings == [f"warning: the checkpoint {newest} is {word}; using the one before"]
    assert_same_run(interrupted, whole, tmp_path)


def test_without_a_sound_checkpoint_a_run_begins_again(interrupted: Path, whole: Path, tmp_path: Path) -> None:
    for path in checkpoints(interrupted):
        one_bit_flipped(path)
    result = dsabench("pretrain", *SHORT, "--runs", interrupted)
    assert result.code == 0
    assert result.err.count("is damaged") == 2
    assert_same_run(interrupted, whole, tmp_path)


def test_a_finished_run_whose_checkpoint_is_damaged_is_not_evaluated_and_is_mended_by_pretrain(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert dsabench("pretrain", *SHORT, "--runs", runs).code == 0
    weights = state_of(runs)["weights_sha256"]
    one_bit_flipped(checkpoints(runs)[-1])
    result = dsabench("eval", "--runs", runs, "--probe", "knn5")
    assert result.code == 3
    assert "is missing or damaged; the same pretrain command mends it" in result.err
    mended = dsabench("pretrain", *SHORT, "--runs", runs)
    assert mended.code == 0
    assert "is damaged; starting from the beginning" in mended.err
    assert state_of(runs)["weights_sha256"] == weights
    assert dsabench("eval", "--runs", runs, "--probe", "knn5").code == 0


def test_an_unfinished_run_is_not_evaluated(interrupted: Path) -> None:
    result = dsabench("eval", only_run(interrupted), "--probe", "knn5")
    assert result.code == 3
    assert "is not finished (interrupted); run pretrain again first" in result.err
    result = dsabench("eval", "--runs", interrupted, "--probe", "knn5")
    assert result.code == 3
    assert "no finished run" in result.err


def change(runs: Path, **changes: Any) -> None:
    """Edit a run.json by hand, as one could in version 2, which had no checksum."""
    state = {name: value for name, value in state_of(runs).items() if name != "checksum"} | {"schema_version": 2}
    for name, value in changes.items():
        owner = state["config"] if name in state["config"] else state
        owner[name] = value
    (only_run(runs) / "run.json").write_text(json.dumps(state))


def commands(runs: Path) -> list[tuple[object, ...]]:
    folder = only_run(runs)
    return [("pretrain", *SHORT, "--runs", runs), ("eval", folder), ("show", folder)]


def assert_refused(arguments: tuple[object, ...], message: str) -> None:
    result = dsabench(*arguments)
    assert result.code == 3, (arguments, result)
    assert result.out == ""
    # What was read may have been said before.
    assert result.err.splitlines()[-1].startswith("dsabench: ")
    assert message in result.err


@pytest.mark.parametrize("changes", [{"epochs": 3}, {"seed": 1}, {"batch_size": 32}, {"config_hash": "0" * 64}])
def test_a_run_that_was_changed_by_hand_is_refused(changes: dict[str, Any], interrupted: Path) -> None:
    change(interrupted, **changes)
    before = (only_run(interrupted) / "run.json").read_bytes()
    for arguments in commands(interrupted):
        assert_refused(arguments, "was changed by hand")
    assert (only_run(interrupted) / "run.json").read_bytes() == before


def test_weights_that_are_not_those_of_the_run_are_refused(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert dsabench("pretrain", *SHORT, "--runs", runs).code == 0
    change(runs, weights_sha256="0" * 64)
    assert_refused(("eval", only_run(runs), "--probe", "knn5"), "are not those that its run.json names")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"config": {}}'])
def test_a_damaged_run_is_refused(content: str, interrupted: Path) -> None:
    path = only_run(interrupted) / "run.json"
    path.write_text(content)
    for arguments in commands(interrupted):
        assert_refused(arguments, str(path))
    listed = dsabench("list", "runs", "--runs", interrupted)
    assert listed.code == 0
    assert f"warning: {path}" in listed.err


def test_a_run_in_the_folder_of_another_is_refused(interrupted: Path) -> None:
    folder = only_run(interrupted)
    other = json.loads(dsabench("pretrain", *SHORT, "--seed", "1", "--runs", interrupted, "--dry-run", "--json").out)
    folder.rename(other[0]["run_dir"])
    assert_refused(("pretrain", *SHORT, "--seed", "1", "--runs", interrupted), "holds another run")


def write_images(folder: Path) -> Path:
    """A folder of images of noise in two classes."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 4)):
        for name in ("ant", "bee"):
            (folder / split / name).mkdir(parents=True)
            for position in range(count):
                pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{position}.png")
    return folder


def test_a_run_is_not_continued_nor_evaluated_on_other_data(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    runs = tmp_path / "runs"

    def pretrain(folder: Path, *more: object) -> tuple[object, ...]:
        source = ("--dataset", "imagefolder", "--data-dir", folder, "--batch-size", 9)
        return ("pretrain", *SHORT, *source, "--runs", runs, *more)

    assert dsabench(*pretrain(images)).code == 0
    before = (only_run(runs) / "run.json").read_bytes()

    # The same images elsewhere are the same data.
    moved = tmp_path / "moved"
    images.rename(moved)
    again = dsabench(*pretrain(moved))
    assert again.code == 0, again.err
    assert "already finished" in again.out
    probed = ("eval", only_run(runs), "--probe", "knn5", "--data-dir", moved)
    assert dsabench(*probed).code == 0

    # Other images are other data: the run is not evaluated on them, and one of theirs is another run.
    Image.new("RGB", (8, 8), "teal").save(moved / "train" / "ant" / "3.png")
    for layer in ("backbone", "pixels"):
        assert_refused((*probed, "--layer", layer), "was trained on other data")
    assert (only_run(runs) / "run.json").read_bytes() == before
    other = dsabench(*pretrain(moved, "--json"))
    assert other.code == 0, other.err
    hashes = {json.loads(path.read_text())["dataset_sha256"] for path in runs.glob("*/*/*/run.json")}
    assert hashes > {json.loads(before)["dataset_sha256"]}


def test_a_run_is_not_continued_on_data_that_changed_under_their_name(interrupted: Path) -> None:
    change(interrupted, dataset_sha256="0" * 64)
    again = ("pretrain", *SHORT, "--runs", interrupted)
    assert_refused(again, "was trained on other data")
    assert dsabench(*again, "--overwrite", "always").code == 0
    assert state_of(interrupted)["dataset_sha256"] != "0" * 64


def test_a_comparison_finds_its_runs_again_when_the_images_have_moved(tmp_path: Path) -> None:
    images, moved = write_images(tmp_path / "images"), tmp_path / "moved"
    common = (*TINY, "--dataset", "imagefolder", "--batch-size", 8, "--seeds", 0, "--probe", "knn", "--jobs", 1)
    arms = ("compare", "simclr", "byol", *common, "--runs", tmp_path / "runs")
    assert dsabench(*arms, "--data-dir", images, "--output", tmp_path / "first").code == 0
    images.rename(moved)
    again = dsabench(*arms, "--data-dir", moved, "--output", tmp_path / "second")
    assert again.code == 0, again.err
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()


def test_a_process_that_waits_for_another_one_says_for_which_and_can_be_stopped(interrupted: Path) -> None:
    folder = only_run(interrupted)
    alarm = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    with acquire(folder, Stop()):
        alarm.start()
        result = dsabench("pretrain", *SHORT, "--runs", interrupted)
    alarm.join()
    assert result.code == 143
    assert f"waiting: process {os.getpid()} works on {folder} and has written nothing for " in result.err
    assert holder(folder) is None
    assert dsabench("pretrain", *SHORT, "--runs", interrupted).code == 0


def test_a_run_with_the_reference_augmentation_resumes_exactly_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("pretrain", *SHORT, "--augment", "reference", "--runs")
    record = train.step

    def step(state: State, views: Any) -> dict[str, Tensor]:
        terms = record(state, views)
        if state.position.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return terms

    with monkeypatch.context() as patch:
        patch.setattr(train, "step", step)
        assert dsabench(*arguments, tmp_path / "runs").code == 143
    assert steps_saved(tmp_path / "runs") == 6
    assert dsabench(*arguments, tmp_path / "runs").code == 0
    assert dsabench(*arguments, tmp_path / "whole").code == 0
    assert_same_run(tmp_path / "runs", tmp_path / "whole", tmp_path)
    assert {row.augment for row in read_csv(tmp_path / "ours.csv")} == {"reference"}
