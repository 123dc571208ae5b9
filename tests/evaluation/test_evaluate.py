"""Evaluation of a run: where it is computed, on which data, its stored answers, and values that are not defined."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command import TINY, dsabench

from dsabench.config.eval_config import EvalConfig
from dsabench.config.spec import Part
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.evaluation import evaluate as module
from dsabench.evaluation.encoder import Encoder, run_encoder
from dsabench.evaluation.evaluate import Evaluation, evaluate
from dsabench.evaluation.images import Pairs, finished_encoders
from dsabench.evaluation.inputs import Inputs
from dsabench.files import canonical_json
from dsabench.signals import Stop
from dsabench.stats import mcnemar
from dsabench.tables.answers import read_answers
from dsabench.training.run import Run
from dsabench.training.store import Store

DATASETS = Datasets(offline=True)
PROBES = ("knn", "knn5", "linear", "fewshot", "crowding")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    runs = tmp_path_factory.mktemp("evaluation") / "runs"
    done = dsabench("pretrain", "--method", "simclr", *TINY, "--runs", runs, "-q", "--json")
    assert done.code == 0, done.err
    return Store(runs).newest_finished()


@pytest.fixture
def encoder(run: Run) -> Encoder:
    return run_encoder(run, DATASETS)


def values(encoder: Encoder, config: EvalConfig) -> dict[tuple[str, ...], float | None]:
    rows = evaluate(encoder, config, DATASETS, stop=Stop())
    return {(row.layer, row.probe, row.probe_params, row.metric): row.value for row in rows}


def test_stored_answers_give_every_accuracy_again_without_a_search(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = values(encoder, EvalConfig(PROBES))
    searched = Inputs.result

    def only_metrics(self: Inputs, evaluator: Part, seed: int) -> object:
        assert evaluator.name not in PROBES, f"{evaluator} was computed again"
        return searched(self, evaluator, seed)

    monkeypatch.setattr(Inputs, "result", only_metrics)
    assert values(encoder, EvalConfig(PROBES)) == first
    assert encoder.folder is not None
    files = sorted(encoder.folder.glob("answers-*.safetensors"))
    assert [path.name.split("-")[1] for path in files] == ["fewshot", "knn", "knn5", "linear"]
    checked = 0
    for answers in map(read_answers, files):
        assert np.array_equal(answers.y, DATASETS.load(encoder.data or DataConfig()).test.labels.numpy())
        for params in answers.params:
            text = canonical_json(params)
            correct = answers.correct(text)
            assert correct.shape == (50 if answers.probe == "fewshot" else 1, 64)
            expected = first["backbone", answers.probe, text, "accuracy"]
            assert expected == pytest.approx(correct.mean(), abs=1e-12)
            checked += 1
    assert checked == 1 + 1 + 1 + 6


def test_a_damaged_file_of_answers_is_made_again(encoder: Encoder) -> None:
    config = EvalConfig(("knn",))
    first = values(encoder, config)
    assert encoder.folder is not None
    (path,) = encoder.folder.glob("answers-knn-*.safetensors")
    content = path.read_bytes()
    for place in (9, len(content) // 2, len(content) - 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert values(encoder, config) == first
        assert path.read_bytes() == content


def test_a_run_of_a_gpu_is_evaluated_where_there_is_none(run: Run) -> None:
    elsewhere = Run(run.folder, run.config.model_copy(update={"device": "cuda"}), run.state)
    config = EvalConfig(("knn", "crowding"))
    assert not torch.cuda.is_available()
    assert values(run_encoder(elsewhere, DATASETS), config) == values(run_encoder(run, DATASETS), config)
    asked = dsabench("eval", "--runs", run.folder.parents[2], "--device", "cuda", "--probe", "knn")
    assert asked.code == 2
    assert "the device 'cuda' is not available here; use --device auto" in asked.err


def test_a_run_is_evaluated_on_other_data_at_its_own_size(run: Run) -> None:
    runs = run.folder.parents[2]
    result = dsabench("eval", "--runs", runs, "--dataset", "digits", "--probe", "knn", "--probe", "crowding", "--json")
    assert result.code == 0, result.err
    rows = json.loads(result.out)
    assert {row["dataset"] for row in rows} == {"digits"}
    assert {row["trained_on"] for row in rows} == {"synthetic"}
    assert {row["n"] for row in rows} == {359}
    # Three channels at 8 pixels, with the mean and standard deviation of what it was trained on.
    (preprocess,) = {row["preprocess"] for row in rows}
    assert json.loads(preprocess)["image_size"] == 8
    assert json.loads(preprocess)["mean"] == [0.2, 0.2, 0.2]
    (knn,) = [row["value"] for row in rows if row["probe"] == "knn"]
    assert knn > 0.5
    own = dsabench("eval", "--runs", runs, "--probe", "knn", "--json")
    assert {row["dataset"] for row in json.loads(own.out)} == {"synthetic"}


def test_threads_are_those_of_the_evaluation(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(module, "prepare", seen.append)
    (row,) = evaluate(run_encoder(run, DATASETS), EvalConfig(("knn",), threads=2), DATASETS, stop=Stop())
    assert seen == [2]
    assert row.eval_device.endswith(", 2 threads")
    assert row.threads == 1


def test_precision_is_that_of_the_forward_pass_and_has_features_of_its_own(encoder: Encoder) -> None:
    exact = values(encoder, EvalConfig(("crowding",)))
    narrow = values(encoder, EvalConfig(("crowding",), precision="bf16"))
    key = ("backbone", "crowding", "{}", "cdnv")
    assert exact[key] != narrow[key]
    assert narrow[key] == pytest.approx(exact[key], rel=0.05)
    assert values(encoder, EvalConfig(("crowding",))) == exact


def test_a_value_that_is_not_defined_is_a_row_without_one_and_the_rest_stands(encoder: Encoder) -> None:
    config = EvalConfig(("crowding", "knn"))
    (layer,) = Evaluation(encoder, config, DATASETS).layers()
    one_class = layer.inputs.test._replace(y=torch.zeros_like(layer.inputs.test.y))
    layer.inputs = replace(layer.inputs, test=one_class)
    rows = {row.metric: row for row in layer.rows(Stop())}
    assert rows["cdnv"].value is None
    assert rows["cdnv"].status == "undefined"
    assert "at least 2 classes are needed" in rows["cdnv"].note
    assert rows["rankme"].status == rows["accuracy"].status == "ok"
    assert rows["rankme"].value is not None


def test_mcnemar_reads_the_stored_answers(tmp_path: Path) -> None:
    specs = ("simclr", "byol")
    result = dsabench(
        *("compare", *specs, *TINY, "--seeds", "0-1", "--probe", "knn", "--jobs", "1"),
        *("--runs", tmp_path / "runs", "--output", tmp_path / "t"),
    )
    assert result.code == 0, result.err
    store = Store(tmp_path / "runs")
    planned = [run.config for run in store.runs()]
    config = EvalConfig(("knn",))

    class Pair:
        spec, against = "byol", "simclr"

    found = Pairs(finished_encoders(planned, store, DATASETS), config, DATASETS).mcnemar([Pair()])  # type: ignore[list-item]
    right = {}
    for run in store.runs():
        (path,) = (run.folder / "features").glob("answers-knn-*.safetensors")
        answers = read_answers(path)
        right[str(run.config.spec), run.config.seed] = (answers.predicted[0][0] == answers.y).tolist()
    assert found == {("byol", "simclr"): [mcnemar(right["byol", seed], right["simclr", seed]) for seed in (0, 1)]}
