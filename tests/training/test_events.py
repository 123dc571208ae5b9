"""TensorBoard's files hold what `log.csv` holds, also of a run that was interrupted in between."""

import math
import struct
from pathlib import Path

import pytest
from command import TINY, dsabench

from dsabench.training import events
from dsabench.training.events import event_files
from dsabench.training.history import read_curves


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard itself reads: a value a step, by name."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder))
    read.Reload()
    return {name: {one.step: one.value for one in read.Scalars(name)} for name in read.Tags()["scalars"]}


def single(value: float) -> float:
    """A number as event files keep it."""
    number: float = struct.unpack("f", struct.pack("f", value))[0]
    return number


def test_event_files_hold_the_log(tmp_path: Path) -> None:
    words = (*TINY, "--epochs", "2", "--method", "simclr+dsa-nested", "--runs", tmp_path / "runs")
    result = dsabench("pretrain", *words, "--tensorboard")
    assert result.code == 0, result.err
    (folder,) = (path.parent for path in (tmp_path / "runs").rglob("run.json"))
    assert f"its curves: {folder / 'log.csv'}" in result.out
    log = read_curves(folder)
    expected = {name: {1: single(values[0]), 2: single(values[1])} for name, values in log.items() if name != "epoch"}
    assert scalars(folder / "tensorboard") == expected
    # Whether somebody watches is no part of what a run is.
    again = dsabench("pretrain", *words)
    assert "already finished" in again.out


def test_what_was_lost_between_two_checkpoints_is_written_over(tmp_path: Path) -> None:
    for first, values in ((1, (5.0, 4.0, 3.0)), (3, (2.5, 2.0))):
        with event_files(tmp_path) as tell:
            for epoch, value in enumerate(values, start=first):
                tell({"epoch": float(epoch), "loss": value})
    assert scalars(tmp_path) == {"loss": {1: 5.0, 2: 4.0, 3: 2.5, 4: 2.0}}


def test_without_a_row_nothing_is_written(tmp_path: Path) -> None:
    with event_files(tmp_path / "tensorboard"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("pretrain",), ("compare", "simclr", "byol")])
def test_without_the_extra_nothing_begins(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    result = dsabench(*words, *TINY, "--tensorboard")
    assert result.code == 2
    assert "--tensorboard needs an extra; install it with: pip install 'dsabench[tensorboard]'" in result.err
    assert list(tmp_path.iterdir()) == []


def test_curves_are_columns_with_nan_where_nothing_was_measured(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("epoch,loss,knn\n1.0,5.0,\n2.0,4.0,0.5\n")
    curves = read_curves(tmp_path)
    assert (curves["epoch"], curves["loss"]) == ([1.0, 2.0], [5.0, 4.0])
    assert math.isnan(curves["knn"][0])
    assert curves["knn"][1] == 0.5


@pytest.mark.parametrize("text", [None, "", "epoch,loss\n", "epoch,loss\n1.0,five\n", "\udcff"])
def test_a_log_that_cannot_be_read_has_no_curves(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "log.csv").write_bytes(text.encode(errors="surrogateescape"))
    assert read_curves(tmp_path) == {}
