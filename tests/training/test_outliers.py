"""Whether DSA's scores find what was put in: the log says it, of the batches that were trained on."""

import json
from pathlib import Path

import pytest
from command import TINY, dsabench
from sklearn.metrics import roc_auc_score

from benchmarks.outliers import found_in, outlier_table
from dsabench.config.run_config import RunConfig
from dsabench.data import load_dataset
from dsabench.evaluation.encoder import run_columns
from dsabench.report.table import Arm, Mean
from dsabench.training.ranks import make_fabric
from dsabench.training.state import State
from dsabench.training.step import batches, step
from dsabench.training.store import Store


def trained(runs: Path, method: str, *more: str) -> dict[str, object]:
    done = dsabench("pretrain", "--method", method, *TINY, "--runs", runs, "-q", "--json", *more)
    assert done.code == 0, done.err
    found: dict[str, object] = json.loads(done.out)
    return found


def test_the_log_holds_the_auroc_of_the_scores(tmp_path: Path) -> None:
    plain = trained(tmp_path, "simclr+dsa-nested")
    again = trained(tmp_path, "simclr+dsa-nested", "--contaminate", "noise=0")
    assert plain["run_id"] == again["run_id"]
    dirty = trained(tmp_path, "simclr+dsa-nested", "--contaminate", "noise=0.25")
    assert dirty["run_id"] != plain["run_id"]
    run = Store(tmp_path).find(str(dirty["run_id"]))
    assert run_columns(run)["trained_on"] == "synthetic, noise=0.25"
    logged = float(run.last_epoch()["outlier_auroc"])
    config = RunConfig.model_validate(run.state["config"])
    state = State(config, load_dataset(config.data), make_fabric(config))
    assert state.dataset.contaminated is not None
    expected = []
    for views in batches(state, 0):
        step(state, views)
        scores = state.regularizer.sample_scores
        assert scores is not None
        truth = state.dataset.contaminated.replaced[views.index]
        expected.append(roc_auc_score(truth.numpy(), 1 - scores.numpy()))
    assert logged == pytest.approx(sum(expected) / len(expected), abs=1e-6)
    assert "outlier_auroc" not in Store(tmp_path).find(str(plain["run_id"])).last_epoch()
    (section,) = outlier_table(found_in(Store(tmp_path))).sections
    assert section.rows == ((Arm("simclr+dsa-nested"), "synthetic, noise=0.25", 1, Mean(logged, None, 1)),)
    off = trained(tmp_path, "simclr+dsa-nested[scores=off]", "--contaminate", "noise=0.25")
    assert "outlier_auroc" not in Store(tmp_path).find(str(off["run_id"])).last_epoch()


def test_it_is_evaluated_on_clean_data(tmp_path: Path) -> None:
    dirty = trained(tmp_path, "random", "--contaminate", "noise=0.25")
    clean = trained(tmp_path, "random")
    values = []
    for one in (dirty, clean):
        done = dsabench("eval", one["run_id"], "--runs", tmp_path, "--probe", "knn", "--probe", "cdnv", "--json")
        assert done.code == 0, done.err
        rows = json.loads(done.out)
        values.append([row["value"] for row in rows])
        assert {row["dataset"] for row in rows} == {"synthetic"}
    assert values[0] == values[1]
