"""The benchmark as a program calls it."""

import json
from pathlib import Path

import pytest
import torch
from command import TINY, dsabench
from torch import nn

import dsabench as package
from dsabench.data import load_dataset
from dsabench.data.dataset import Split
from dsabench.data.loader import image_batches
from dsabench.errors import NothingToCompare, UsageError
from dsabench.tables.rows import read_csv


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    done = dsabench("pretrain", *TINY, "--runs", tmp_path_factory.mktemp("calls") / "runs", "-q", "--json")
    assert done.code == 0, done.err
    answer: dict[str, str] = json.loads(done.out)
    return answer


def test_a_module_and_the_run_it_came_from_have_the_same_values(summary: dict[str, str]) -> None:
    runs = Path(summary["run_dir"]).parents[2]
    backbone = package.load_backbone(summary["run_id"][:6], runs)
    assert not backbone.training
    data = package.DataConfig(name="synthetic", image_size=8)
    wanted = ("knn", "crowding")
    ours = {(row.probe, row.metric): row.value for row in package.evaluate(backbone.train(), data, probes=wanted)}
    assert backbone.training
    told = dsabench("eval", summary["run_dir"], "--probe", "knn", "--probe", "crowding", "--json")
    assert ours == {(row["probe"], row["metric"]): row["value"] for row in json.loads(told.out)}


def test_a_loaded_backbone_normalises_pixels_as_its_run_did(summary: dict[str, str]) -> None:
    backbone = package.load_backbone(summary["run_dir"])
    split = load_dataset(package.DataConfig(name="synthetic", image_size=8))
    pixels = split.test.pixels(torch.arange(5))
    (expected,) = image_batches(Split(split.test.labels[:5], pixels), split.mean, split.std, batch_size=5, device="cpu")
    assert torch.allclose(backbone.normalise(pixels), expected, atol=1e-6)
    assert torch.allclose(backbone.normalise(pixels.double() / 255).float(), expected, atol=1e-6)
    with pytest.raises(ValueError, match="comes from no run"):
        package.build_backbone("resnet8w16", channels=3, image_size=8).normalise(pixels)


def test_a_folder_that_a_run_does_not_read_is_told(summary: dict[str, str], tmp_path: Path) -> None:
    told = dsabench("eval", summary["run_dir"], "--probe", "knn", "--data-dir", tmp_path)
    assert told.code == 0
    warning = f"warning: simclr s0 is of synthetic, which --data-dir {tmp_path} does not change; for the images in it: "
    assert warning in told.err
    written = dsabench("features", summary["run_dir"], "--output", tmp_path / "f.npz", "--data-dir", tmp_path)
    assert written.code == 0
    assert warning in written.err


def test_any_module_is_an_encoder_and_its_rows_say_which_weights() -> None:
    pixels = nn.Flatten()
    rows = package.evaluate(pixels, "digits", name="pixels", probes=["knn"])
    (row,) = rows
    assert (row.spec, row.dataset, row.n, row.epochs) == ("pixels", "digits", 359, 0)
    assert row.value is not None
    assert row.value > 0.95
    with torch.no_grad():
        linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
    (other,) = package.evaluate(linear, "digits", probes=["knn"], labels_used="training")
    assert other.run_id != row.run_id
    assert (other.method, other.labels_used) == ("Sequential", "training")
    with pytest.raises(UsageError, match="did you mean 'knn'"):
        package.evaluate(pixels, "digits", probes=["knnn"])


def test_rows_are_compared_in_their_order() -> None:
    rows = [row for row in read_csv(Path(__file__).parents[2] / "results" / "digits.csv") if "simclr" in row.method]
    found = [one for one in package.compare(rows) if one.role == "primary"]
    assert [(one.spec, one.against, one.verdict) for one in found] == [("simclr+dsa-nested", "simclr", "better")]
    table = package.frame(found)
    assert table[["spec", "layer", "metric", "verdict"]].values.tolist() == [
        ["simclr+dsa-nested", "backbone", "cdnv", "better"]
    ]
    assert {"probe_params", "p", "difference"} <= set(table.columns)
    assert "key" not in table.columns
    with pytest.raises(NothingToCompare):
        package.compare([row for row in rows if row.regularizer == "none"])


def test_a_table_is_a_data_frame() -> None:
    path = Path(__file__).parents[2] / "results" / "digits.csv"
    table = package.frame(path)
    assert len(table) == len(read_csv(path)) == len(package.frame(read_csv(path)))
    empty = package.frame([])
    assert (len(empty), list(empty.columns)) == (0, list(table.columns))
    assert package.compare(path)[:3] == package.compare(read_csv(path))[:3]
    mean = table[(table.metric == "cdnv") & (table.status == "ok")].groupby("spec").value.mean()
    assert mean.round(3)[["simclr", "simclr+dsa-nested"]].tolist() == [0.237, 0.131]
