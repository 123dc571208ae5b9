"""What leaves the benchmark, and comes back: a run's backbone as timm loads it, and features as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from command import TINY, Result, dsabench

import dsabench as package
from dsabench.data import load_dataset
from dsabench.data.data_config import DataConfig
from dsabench.evaluation.embeddings import load_embeddings


def ok(result: Result) -> Result:
    assert result.code == 0, result.err
    return result


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an untrained ViT of timm at 64 px and an untrained small ResNet of our own."""
    store = tmp_path_factory.mktemp("export") / "runs"
    timms = ("--dataset", "synthetic", "--image-size", "64", "--backbone", "test_vit", "--device", "cpu")
    ok(dsabench("pretrain", "--method", "random", *timms, "--runs", store, "-q"))
    ok(dsabench("pretrain", "--method", "random", *TINY[:-4], "--device", "cpu", "--runs", store, "-q"))
    return store


def run_of(runs: Path, backbone: str) -> str:
    found = [json.loads(path.read_text()) for path in runs.glob("*/*/*/run.json")]
    (run_id,) = (run["run_id"] for run in found if run["config"]["backbone"] == backbone)
    return str(run_id)


def values(result: Result) -> dict[str, Any]:
    return {row["metric"]: row["value"] for row in json.loads(result.out)}


def test_timm_loads_what_is_exported_and_so_do_we(runs: Path, tmp_path: Path) -> None:
    run = run_of(runs, "test_vit")
    ok(dsabench("export", run, "--to", tmp_path / "vit", "--runs", runs))
    ok(dsabench("export", run, "--to", tmp_path / "vit.safetensors", "--runs", runs))
    backbone = package.load_backbone(run, runs)
    images = torch.randn(2, 3, 64, 64)
    made = [
        timm.create_model(
            "test_vit", num_classes=0, img_size=64, checkpoint_path=str(tmp_path / "vit" / "model.safetensors")
        ),
        timm.create_model(f"local-dir:{tmp_path / 'vit'}", pretrained=True),
    ]
    with torch.no_grad():
        wanted = backbone(images)
        for model in made:
            torch.testing.assert_close(model.eval()(images), wanted)
    card = (tmp_path / "vit.md").read_text()
    assert 'timm.create_model("test_vit", num_classes=0, img_size=64, checkpoint_path="vit.safetensors")' in card
    assert run in card
    assert "| synthetic | test | backbone | crowding cdnv |" in card
    probes = ("--probe", "knn", "--probe", "crowding", "--json", "--runs", runs)
    own = values(ok(dsabench("eval", run, *probes)))
    # The file says of itself which model it is and what it wants of images; the data set brings them to its size.
    again = ("eval", "--checkpoint", tmp_path / "vit.safetensors", "--dataset", "synthetic", *probes)
    assert values(ok(dsabench(*again))) == own


def test_a_backbone_that_timm_does_not_have_comes_back_too(runs: Path, tmp_path: Path) -> None:
    run = run_of(runs, "resnet8w16")
    done = ok(dsabench("export", run, "--to", tmp_path / "small", "--runs", runs))
    # What is printed can be pasted, and is the run's backbone.
    opened: dict[str, Any] = {}
    exec(done.err.partition("opened in Python by:\n")[2], opened)
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(opened["model"](images), package.load_backbone(run, runs)(images))
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == ["README.md", "model.safetensors"]
    assert "not one of timm's models" in (tmp_path / "small" / "README.md").read_text()
    probes = ("--probe", "knn", "--json", "--runs", runs)
    again = ("eval", "--checkpoint", tmp_path / "small" / "model.safetensors", "--dataset", "synthetic", *probes)
    assert values(ok(dsabench(*again))) == values(ok(dsabench("eval", run, *probes)))


def test_features_are_written_and_measured_again(runs: Path, tmp_path: Path) -> None:
    run = run_of(runs, "resnet8w16")
    probes = ("--probe", "knn", "--probe", "linear", "--probe", "crowding", "--json", "--runs", runs)
    own = values(ok(dsabench("eval", run, *probes)))
    for ending in ("npz", "parquet"):
        if ending == "parquet":
            pytest.importorskip("pyarrow")
        path = tmp_path / f"f.{ending}"
        done = ok(dsabench("features", run, "--output", path, "--runs", runs))
        assert "wrote 384 rows" in done.err
        assert values(ok(dsabench("eval", "--features", path, *probes))) == own
        data = load_dataset(DataConfig(name="synthetic", image_size=8))
        assert load_embeddings(path, dataset=data).data_sha256 == data.sha256
    with np.load(tmp_path / "f.npz", allow_pickle=False) as stored:
        assert stored["filename_test"][3] == "test/3"
    assert dsabench("features", run, "--output", tmp_path / "f.csv", "--runs", runs).code == 2
    assert dsabench("features", "--output", tmp_path / "f.npz", "--runs", runs).code == 2


@pytest.mark.parametrize("command", ["export", "features"])
def test_the_commands_have_an_example(command: str) -> None:
    assert f"dsabench {command}" in ok(dsabench(command, "--help")).out
