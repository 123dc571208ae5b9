"""Tasks beyond frozen features of one data set: what they measure of a run, and that they go on where they stopped."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command import TINY, dsabench
from sklearn.metrics import roc_auc_score
from voc_format import write_voc

from dsabench.config.eval_config import EvalConfig
from dsabench.config.spec import Part
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import Split
from dsabench.data.voc import Boxes, VocImages
from dsabench.errors import Interrupted
from dsabench.evaluation.detection import LastMap, scored, target_of
from dsabench.evaluation.encoder import Encoder, run_encoder
from dsabench.evaluation.evaluate import Evaluation, LayerEvaluation, evaluate
from dsabench.evaluation.features import FeatureStore
from dsabench.evaluation.finetune import LR_GRID
from dsabench.evaluation.outside import auroc
from dsabench.evaluation.pooling import network_of
from dsabench.evaluation.subject import Subject
from dsabench.evaluation.view_features import viewed
from dsabench.evaluation.waiting import Waiting
from dsabench.metrics.lidar import lidar
from dsabench.probes.base import unit_rows
from dsabench.probes.knn import knn
from dsabench.signals import Stop
from dsabench.tables.rows import Row
from dsabench.training.checkpoint import read_checkpoint
from dsabench.training.run import Run
from dsabench.training.store import Store

DATASETS = Datasets(offline=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    runs = tmp_path_factory.mktemp("tasks") / "runs"
    done = dsabench("pretrain", "--method", "simclr", *TINY, "--runs", runs, "-q", "--json")
    assert done.code == 0, done.err
    return Store(runs).newest_finished()


@pytest.fixture
def encoder(run: Run, tmp_path: Path) -> Encoder:
    """The encoder of the run, with a folder of its own for what is computed of it."""
    return replace(run_encoder(run, DATASETS), folder=tmp_path / "features")


def layer(encoder: Encoder, name: str = "backbone", split: str = "test") -> LayerEvaluation:
    (found,) = Evaluation(encoder, EvalConfig(("knn",), layers=(Part(name),), split=split), DATASETS).layers()
    return found


def subject_of(found: LayerEvaluation) -> Subject:
    assert found.inputs.subject is not None
    return found.inputs.subject


def values(rows: list[Row]) -> dict[tuple[str, str], float | None]:
    return {(row.metric, row.probe_params): row.value for row in rows}


def test_auroc_is_that_of_scikit_learn() -> None:
    draw = torch.Generator().manual_seed(0)
    for _ in range(30):
        positive, negative = (torch.randint(6, (n,), generator=draw).double() for n in (13, 21))
        truth = [1] * 13 + [0] * 21
        assert auroc(positive, negative) == pytest.approx(roc_auc_score(truth, torch.cat([positive, negative])))


def test_another_data_set_is_told_apart_by_the_distance_to_the_kth_neighbour(encoder: Encoder) -> None:
    found = layer(encoder)
    (row,) = evaluate(encoder, EvalConfig(("ood[dataset=digits,k=7]",)), DATASETS, stop=Stop())
    digits = DATASETS.load(DataConfig(name="digits", image_size=8)).test
    strange = FeatureStore(encoder, DATASETS.load(encoder.data or DataConfig()), torch.device("cpu")).of(
        Part("backbone"), digits
    )
    bank = unit_rows(found.inputs.train.x.double())
    distances = [
        (1 - unit_rows(x.double()) @ bank.T).sort(dim=1).values[:, 6] for x in (strange.x, found.inputs.test.x)
    ]
    truth = [1] * len(strange.x) + [0] * len(found.inputs.test.x)
    assert row.value == pytest.approx(roc_auc_score(truth, torch.cat(distances)), abs=1e-4)
    assert (row.metric, json.loads(row.probe_params)) == ("auroc", {"dataset": "digits", "images": 359, "k": 7})


def test_transfer_is_what_eval_says_of_the_other_data_set(encoder: Encoder) -> None:
    rows = evaluate(encoder, EvalConfig(("transfer[dataset=digits]",)), DATASETS, stop=Stop())
    plain = evaluate(encoder, EvalConfig(("linear", "knn"), data=DataConfig(name="digits")), DATASETS, stop=Stop())
    expected = {row.probe: row.value for row in plain if row.metric == "accuracy"}
    assert {json.loads(row.probe_params)["classifier"]: row.value for row in rows} == expected
    assert {row.dataset for row in rows} == {"synthetic"}


def test_corrupted_images_are_answered_for_and_the_drop_is_their_mean(encoder: Encoder) -> None:
    rows = evaluate(encoder, EvalConfig(("knn", "corruptions")), DATASETS, stop=Stop())
    accuracy = {row.probe_params: row.value for row in rows if row.probe == "corruptions" and row.metric == "accuracy"}
    assert len(accuracy) == 31
    (clean,) = [value for params, value in accuracy.items() if '"none"' in params]
    assert clean == next(row.value for row in rows if row.probe == "knn")
    assert clean
    changed = [value or 0.0 for params, value in accuracy.items() if '"none"' not in params]
    (drop,) = [row for row in rows if row.metric == "mean_relative_drop"]
    assert drop.value == pytest.approx(sum(1 - value / clean for value in changed) / 30)
    assert drop.higher_is_better is False
    # By hand: the images brightened, their features, the neighbours.
    found = layer(encoder)
    test = DATASETS.load(encoder.data or DataConfig()).test
    assert isinstance(test.images, torch.Tensor)
    light = Split(test.labels, (test.images.float() / 255 + 0.2).mul(255).round().clamp(0, 255).byte())
    (answer,) = knn(found.inputs.train, found.inputs.val, subject_of(found).features(light), seed=0).answers
    by_hand = float((answer.predicted[0] == test.labels).double().mean())
    assert accuracy['{"corruption":"brightness","k":20,"severity":2}'] == by_hand


def test_lidar_reads_the_views_of_pretraining(encoder: Encoder) -> None:
    (row,) = evaluate(encoder, EvalConfig(("lidar[images=20,views=4]",)), DATASETS, stop=Stop())
    subject = subject_of(layer(encoder))
    views = viewed(subject, 20, 4, 0)
    assert views.shape == (20, 4, 64)
    assert row.value == lidar(views)
    assert encoder.views == "digits"
    # Two views of one image are nearer than those of two images.
    units = unit_rows(views)
    same = (units[:, 0] * units[:, 3]).sum(dim=1).mean()
    assert same > (units[:, 0] @ units[:, 3].T).mean()


def test_all_layers_come_of_one_forward_pass_and_are_those_by_name(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    forward = Encoder.all_features
    monkeypatch.setattr(Encoder, "all_features", lambda *given: passes.append(1) or forward(*given))
    every = EvalConfig(("knn",), layers=(Part("backbone"), Part("all")))
    rows = evaluate(encoder, every, DATASETS, stop=Stop())
    assert [row.layer for row in rows] == ["backbone", "stages.0", "stages.1", "stages.2", "projector"]
    assert len(passes) == 3
    fresh = replace(encoder, folder=None)
    for name in (row.layer for row in rows):
        stored, alone = layer(encoder, name).inputs, layer(fresh, name).inputs
        for split in ("train", "val", "test"):
            assert torch.equal(getattr(stored, split).x, getattr(alone, split).x)
    assert evaluate(fresh, every, DATASETS, stop=Stop()) == rows
    command = dsabench("compare", "simclr", "byol", *TINY, "--layer", "all", "--layer", "backbone")
    assert command.code == 2
    assert "--layer all is for eval" in command.err


def ended(encoder: Encoder) -> dict[str, str]:
    """What fine-tuning left of each learning rate: the hash of its weights."""
    assert encoder.folder is not None
    found = {}
    for path in encoder.folder.glob("*/lr-*/run.json"):
        state = json.loads(path.read_text())
        assert state["status"] == "finished"
        found[path.parent.name] = state["weights_sha256"]
    return found


@pytest.mark.parametrize("word", ["semi[share=0.1,steps=8]", "finetune[steps=8]"])
def test_fine_tuning_stopped_and_resumed_ends_with_the_same_bits(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    tidy = Subject.tidy
    monkeypatch.setattr(Subject, "tidy", lambda self: None)
    config = EvalConfig((word,))
    whole = evaluate(encoder, config, DATASETS, stop=Stop())
    accuracy, chosen = whole
    assert accuracy.metric == "accuracy"
    assert chosen.metric == "chosen_lr"
    assert chosen.value in LR_GRID
    weights = ended(encoder)
    assert len(set(weights.values())) == len(LR_GRID)

    elsewhere = replace(encoder, folder=tmp_path / "elsewhere")
    stop, calls = Stop(), []

    def interrupting(self: Waiting, share: float) -> None:
        calls.append(share)
        # In the middle of the second learning rate.
        if len(calls) == 8 + 3:
            stop.request(signal.SIGINT)

    monkeypatch.setattr(Waiting, "__call__", interrupting)
    with pytest.raises(Interrupted):
        evaluate(elsewhere, config, DATASETS, stop=stop)
    again = evaluate(elsewhere, config, DATASETS, stop=Stop())
    # Nothing was trained twice: three learning rates of eight steps in all.
    assert len(calls) == 24
    assert values(again) == values(whole)
    assert ended(elsewhere) == weights

    # Answers are stored, so that nothing is trained for them again, and checkpoints then go.
    monkeypatch.setattr(Subject, "tidy", tidy)
    assert values(evaluate(elsewhere, config, DATASETS, stop=Stop())) == values(whole)
    assert len(calls) == 24
    third = replace(encoder, folder=tmp_path / "third")
    monkeypatch.setattr(Waiting, "__call__", lambda self, share: None)
    assert values(evaluate(third, config, DATASETS, stop=Stop())) == values(whole)
    assert not [path for path in (tmp_path / "third").iterdir() if path.is_dir()]


def test_fine_tuning_learns_and_wants_a_layer_of_the_model(encoder: Encoder) -> None:
    before = layer(encoder)
    rows = evaluate(encoder, EvalConfig(("finetune[steps=20]",), split="val"), DATASETS, stop=Stop())
    assert rows[0].value is not None
    assert rows[0].value > 0.5
    # The encoder itself is as it was.
    assert torch.equal(layer(replace(encoder, folder=None)).inputs.test.x, before.inputs.test.x)
    (row,) = evaluate(encoder, EvalConfig(("semi",), layers=(Part("pixels"),)), DATASETS, stop=Stop())
    assert row.status == "undefined"
    assert "pixels is none of them" in row.note
    (row,) = evaluate(encoder, EvalConfig(("semi[share=2]",)), DATASETS, stop=Stop())
    assert "at most 1" in row.note


def test_average_precision_is_that_of_boxes_computed_by_hand(encoder: Encoder, tmp_path: Path) -> None:
    write_voc(tmp_path, train=1, test=0)
    path = tmp_path / "JPEGImages" / "000001.jpg"
    corners = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 45], [50, 0, 60, 10]])
    # The third is difficult: who misses it has missed nothing.
    boxes = Boxes(corners, torch.tensor([1, 2, 1]), torch.tensor([False, False, True]))

    class Detector(torch.nn.Module):
        def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            # One exact, the other of 20 x 18 within 20 x 25 pixels: an IoU of .72.
            found = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 38]])
            return [{"boxes": found, "labels": torch.tensor([1, 2]), "scores": torch.tensor([0.9, 0.8])}]

    found = scored(Detector(), VocImages((path,), (boxes,)), subject_of(layer(encoder)))
    # The second is right at the five thresholds from .50 to .70.
    assert found == pytest.approx({"ap": (1 + 0.5) / 2, "ap50": 1.0, "ap75": 0.5})
    assert target_of(boxes)["iscrowd"].tolist() == [0, 0, 1]


def test_detection_stopped_and_resumed_ends_with_the_same_bits(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_voc(tmp_path / "voc", train=4, test=1)
    monkeypatch.chdir(tmp_path)
    config = EvalConfig(("detection[data=voc,steps=2,batch_size=2,size=48]",))
    whole = evaluate(encoder, config, DATASETS, stop=Stop())
    assert [row.metric for row in whole] == ["ap", "ap50", "ap75"]
    assert all(row.value is not None and 0 <= row.value <= 1 for row in whole)
    assert encoder.folder is not None
    (last,) = encoder.folder.glob("detection-*/step-00000002.safetensors")
    elsewhere = replace(encoder, folder=tmp_path / "elsewhere")
    stop = Stop()
    monkeypatch.setattr(Waiting, "__call__", lambda self, share: share == 0.5 and stop.request(signal.SIGTERM))
    with pytest.raises(Interrupted):
        evaluate(elsewhere, config, DATASETS, stop=stop)
    assert [path.stem for path in (tmp_path / "elsewhere").rglob("step-*.safetensors")] == ["step-00000001"]
    assert values(evaluate(elsewhere, config, DATASETS, stop=Stop())) == values(whole)
    (again,) = (tmp_path / "elsewhere").rglob("step-00000002.safetensors")
    assert again.read_bytes() == last.read_bytes()
    # A frozen backbone ends as it began.
    frozen = replace(encoder, folder=tmp_path / "frozen")
    evaluate(frozen, EvalConfig((config.probes[0].replace("[", "[backbone=frozen,"),)), DATASETS, stop=Stop())
    weights = network_of(encoder.layers["backbone"]).state_dict()
    for place, stays in (("elsewhere", False), ("frozen", True)):
        (path,) = (tmp_path / place).rglob("step-00000002.safetensors")
        tensors, _ = read_checkpoint(path)
        assert stays == all(
            torch.equal(tensors[f"detector.backbone.network.{name}"], weights[name]) for name in weights
        )


def test_a_frozen_backbone_stays_and_a_map_is_needed(encoder: Encoder) -> None:
    network = encoder.layers["backbone"].network  # type: ignore[union-attr]
    body = LastMap(network, 3, 32, torch.device("cpu")).train()  # type: ignore[arg-type]
    assert body.out_channels == 64
    assert not any(module.training for module in body.modules())
    images = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(body(images).mean((2, 3)), encoder.layers["backbone"](images))
    with pytest.raises(ValueError, match="Linear gives no map"):
        LastMap(torch.nn.Linear(3, 3), 3, 32, torch.device("cpu"))


def test_who_waits_is_told_every_half_minute() -> None:
    told: list[str] = []
    now = 0.0
    waiting = Waiting("simclr s0: semi", clock=lambda: now, tell=told.append)
    for second in range(0, 101, 10):
        now = float(second)
        waiting(0.5 + second / 200)
    assert told == [
        "simclr s0: semi: 65%, about 70 s left",
        "simclr s0: semi: 80%, about 40 s left",
        "simclr s0: semi: 95%, about 10 s left",
    ]
