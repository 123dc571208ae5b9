"""`pretrain --track`: the values are those of `eval --split val`, and no bit of the run moves, nor where it resumes."""

import csv
import json
from pathlib import Path

import pytest
from command import TINY, dsabench

from dsabench.launch.work import train
from dsabench.training.run import Run
from dsabench.training.store import Store

# What is measured while a run trains is not adjusted.
SPEC = "simclr+dsa[adjust=off,start=0,weight=3]"


def trained(runs: Path, *more: object) -> Run:
    epochs = [*TINY, "--epochs", "3"]
    done = dsabench("pretrain", "--method", SPEC, *epochs, "--runs", runs, "-q", *more)
    assert done.code == 0, done.err
    return Store(runs).newest_finished()


def log(run: Run) -> list[dict[str, str]]:
    with (run.folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("tracking")
    tracking = ("--track", "cdnv,knn[k=5],fewshot", "--every", "2")
    return {"plain": trained(folder / "plain"), "tracked": trained(folder / "tracked", *tracking)}


def test_no_bit_moves_and_the_identity_is_the_same(runs: dict[str, Run]) -> None:
    plain, tracked = runs["plain"], runs["tracked"]
    assert plain.config.config_hash == tracked.config.config_hash
    assert plain.state["weights_sha256"] == tracked.state["weights_sha256"]
    for before, after in zip(log(plain), log(tracked), strict=True):
        moved = {name for name in before if before[name] != after[name]}
        assert moved <= {"wall_s", "images_per_s"}


def test_it_measures_every_so_often_and_at_the_end_as_eval_does(runs: dict[str, Run]) -> None:
    rows = log(runs["tracked"])
    assert [bool(row["val_cdnv"]) for row in rows] == [False, True, True]
    assert all(float(row["track_s"]) > 0 for row in rows[1:])
    done = dsabench(
        *("eval", "--runs", runs["tracked"].folder.parents[2], "--split", "val", "--json"),
        *("--probe", "cdnv", "--probe", "knn[k=5]", "--probe", "fewshot"),
    )
    assert done.code == 0, done.err
    values = [row["value"] for row in json.loads(done.out)]
    columns = [name for name in rows[-1] if name.startswith("val_")]
    assert columns[:3] == ["val_cdnv", "val_knn", "val_fewshot_centroid_1"]
    assert [float(rows[-1][name]) for name in columns] == pytest.approx(values, rel=1e-12)


def test_what_was_tracked_survives_a_stop(runs: dict[str, Run], tmp_path: Path) -> None:
    tracked = runs["tracked"]
    from dsabench.data import Datasets
    from dsabench.errors import Interrupted
    from dsabench.evaluation.tracking import tracker
    from dsabench.launch.work import Workshop
    from dsabench.signals import Stop

    stop = Stop()
    measured = tracker(("cdnv", "knn[k=5]", "fewshot"), 2)
    assert measured is not None

    def stopping(state: object) -> dict[str, float]:
        found = measured(state)  # type: ignore[arg-type]
        if found:
            stop.exit_code = 130
        return found

    shop = Workshop(Store(tmp_path), Datasets(offline=True), stop, lambda update: None)
    with pytest.raises(Interrupted):
        train(tracked.config, shop, track=stopping)
    shop = Workshop(Store(tmp_path), Datasets(offline=True), Stop(), lambda update: None)
    run, _ = train(tracked.config, shop, track=measured)
    assert run.state["weights_sha256"] == tracked.state["weights_sha256"]
    for before, after in zip(log(tracked), log(run), strict=True):
        assert {name: before[name] for name in before if name.startswith("val_")} == {
            name: after[name] for name in after if name.startswith("val_")
        }


def test_a_wrong_name_is_refused_before_anything_runs() -> None:
    done = dsabench("pretrain", *TINY, "--track", "cdvn")
    assert done.code == 2
    assert "cdvn" in done.err
    assert "did you mean 'cdnv'" in done.err
