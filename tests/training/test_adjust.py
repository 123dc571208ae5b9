"""What comes behind the last step: the features of a run with an adjuster are its backbone's, adjusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import TINY, dsabench, end, start
from safetensors.torch import load_file

import dsabench as package
from dsabench.adjuster import Adjuster
from dsabench.backbones.base import AdjustedBackbone
from dsabench.config.spec import Part, parse_part
from dsabench.data import Datasets
from dsabench.data.loader import image_batches
from dsabench.evaluation.encoder import run_encoder
from dsabench.evaluation.features import FeatureStore
from dsabench.training.adjust import view_features
from dsabench.training.run import Run

DATASETS = Datasets(offline=True)
SPECS = ("simclr+dsa", "simclr+dsa[adjust=off]", "simclr+dsa[adjust_by=neighbours]")
ALWAYS = (*TINY, "--threads", 1, "--seed", "0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs that differ in what comes behind the last step alone."""
    store = tmp_path_factory.mktemp("adjust") / "runs"
    for spec in SPECS:
        done = dsabench("pretrain", "--method", spec, *ALWAYS, "--runs", store, "-q")
        assert done.code == 0, done.err
    found = [Run.load(path.parent) for path in store.glob("*/*/*/run.json")]
    return {str(run.config.spec): run for run in found}


def features(run: Run, layer: str, split: str) -> torch.Tensor:
    encoder = run_encoder(run, DATASETS)
    return FeatureStore(encoder, DATASETS.load(run.config.data), torch.device("cpu")).get(parse_part(layer), split).x


@pytest.mark.parametrize("split", ["train", "test"])
def test_what_is_adjusted_at_the_end_is_what_adjusting_after_training_gives(runs: dict[str, Run], split: str) -> None:
    adjusted, plain, alone = (runs[spec] for spec in SPECS)
    for run, layer in ((adjusted, "adjust"), (alone, "adjust[by=neighbours]")):
        wanted = features(plain, layer, split)
        torch.testing.assert_close(features(run, "backbone", split), wanted, atol=1e-5, rtol=1e-4)
        # The projector was trained on features as they are, and reads those.
        assert torch.equal(features(run, "projector", split), features(plain, "projector", split))
    assert not torch.equal(features(adjusted, "backbone", split), features(alone, "backbone", split))


def test_both_layers_come_of_one_forward_pass(runs: dict[str, Run]) -> None:
    encoder = run_encoder(runs[SPECS[0]], DATASETS)
    images = torch.randn(4, 3, 8, 8)
    both = encoder.all_features(["backbone", "projector"], images, torch.device("cpu"))
    for layer, found in both.items():
        torch.testing.assert_close(found, encoder.features(layer, images, torch.device("cpu")))
    assert encoder.stages()[-2:] == ("backbone", "projector")


def test_the_hash_of_the_weights_is_of_the_adjuster_too(runs: dict[str, Run]) -> None:
    adjusted, plain, _ = (runs[spec] for spec in SPECS)
    weights = [
        {name: x for name, x in load_file(run.final_checkpoint()).items() if name.startswith("method.")}
        for run in (adjusted, plain)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0].keys() | weights[1].keys())
    assert adjusted.state["weights_sha256"] != plain.state["weights_sha256"]


def test_the_backbone_of_a_run_is_the_adjusted_one_and_what_is_exported_says_how(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    folder = runs[SPECS[0]].folder
    backbone = package.load_backbone(folder)
    assert isinstance(backbone, AdjustedBackbone)
    images = torch.randn(5, 3, 8, 8)
    done = dsabench("export", folder, "--to", tmp_path / "out")
    assert done.code == 0, done.err
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"model.safetensors", "adjuster.safetensors"}
    opened: dict[str, Any] = {}
    exec(done.err.partition("opened in Python by:\n")[2], opened)
    with torch.no_grad():
        torch.testing.assert_close(opened["features"](images), backbone(images))
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'safetensors.torch.load_file("adjuster.safetensors")' in card
    assert "--layer adjust" in card
    # One file has its adjuster beside it.
    assert dsabench("export", folder, "--to", tmp_path / "one.safetensors").code == 0
    assert (tmp_path / "one.adjuster.safetensors").is_file()
    # What is exported there next without one does not keep it.
    assert dsabench("export", runs[SPECS[1]].folder, "--to", tmp_path / "one.safetensors").code == 0
    assert not (tmp_path / "one.adjuster.safetensors").exists()


def test_several_processes_have_one_adjuster_that_of_their_backbone(tmp_path: Path) -> None:
    done = end(start("pretrain", "--method", SPECS[0], *ALWAYS, "--devices", 2, "--json", cwd=tmp_path))
    assert done.code == 0, done.err
    run = Run.load(tmp_path / json.loads(done.out)["run_dir"])
    backbone = run_encoder(run, DATASETS).layers["backbone"]
    assert isinstance(backbone, AdjustedBackbone)
    dataset = DATASETS.load(run.config.data)
    facts = dataset.facts
    images = torch.cat(list(image_batches(dataset.train, facts.mean, facts.std, batch_size=64, device="cpu")))
    with torch.no_grad():
        views = view_features(backbone.network, dataset, run.config.resolved.views, 0, torch.device("cpu"))
        wanted = Adjuster(backbone.feature_dim).fit(backbone.network(images), views)
    torch.testing.assert_close(backbone.adjuster.state_dict(), wanted.state_dict(), atol=1e-4, rtol=1e-3)


def test_a_layer_that_is_adjusted_has_options_of_its_own(runs: dict[str, Run]) -> None:
    plain = runs[SPECS[1]]
    assert not torch.equal(features(plain, "adjust[k=3]", "test"), features(plain, "adjust", "test"))
    again = features(plain, "adjust[layer=projector]", "test")
    assert again.shape == features(plain, "projector", "test").shape
    assert str(Part("adjust", {"k": 3})) == "adjust[k=3]"


def test_fine_tuning_begins_with_the_network_alone(runs: dict[str, Run]) -> None:
    rows = []
    for spec in SPECS:
        found = dsabench("eval", runs[spec].folder, "--probe", "finetune[steps=3,batch_size=32]", "--json")
        assert found.code == 0, found.err
        rows.append([(row["metric"], row["value"]) for row in json.loads(found.out)])
    assert rows[0] == rows[1]


def test_features_that_cannot_be_adjusted_fail_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsabench.training.adjust.features", lambda state: torch.full((9, 64), float("nan")))
    done = dsabench("pretrain", "--method", SPECS[0], *ALWAYS, "--runs", tmp_path, "-q")
    assert done.code == 1
    assert "an adjuster needs features that are finite; regularizer.adjust=off" in done.err
    (path,) = tmp_path.glob("*/*/*/run.json")
    assert json.loads(path.read_text())["status"] == "failed"


def test_where_there_are_no_views_an_adjusted_layer_says_how_to_go_without(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    y = np.arange(60) % 3
    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    embeddings = ("--features", tmp_path / "mine.npz")
    for what in ((runs[SPECS[1]].folder, "--layer", "adjust[layer=pixels]"), (*embeddings, "--layer", "adjust")):
        done = dsabench("eval", *what, "--probe", "knn", "--json")
        assert done.code == 2, done.out
        assert "adjust[by=neighbours] goes without" in done.err
    done = dsabench("eval", *embeddings, "--layer", "adjust[by=neighbours]", "--probe", "knn", "--json")
    assert done.code == 0, done.err
    done = dsabench("eval", runs[SPECS[1]].folder, "--layer", "adjust[by=labels]", "--probe", "knn")
    assert done.code == 2
    assert "the option by of the layer adjust must be views or neighbours, got 'labels'" in done.err


def test_an_adjuster_is_fitted_once_for_all_splits_and_its_views_are_the_same_again(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs[SPECS[1]]
    fitted = []
    own = Adjuster.fit

    def counted(self: Adjuster, *arguments: Any, **options: Any) -> Adjuster:
        fitted.append(1)
        return own(self, *arguments, **options)

    monkeypatch.setattr(Adjuster, "fit", counted)
    rows = []
    for _ in range(2):
        store = FeatureStore(run_encoder(run, DATASETS), DATASETS.load(run.config.data), torch.device("cpu"))
        rows.append([store.get(parse_part("adjust"), split).x for split in ("train", "val", "test")])
    assert len(fitted) == 2
    assert all(torch.equal(*pair) for pair in zip(*rows, strict=True))
