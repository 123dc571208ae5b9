"""`eval --per-class`: the tables of a run, and the images that lie worst, by the names of their files."""

import csv
from pathlib import Path

import numpy as np
import pytest
from command import dsabench
from PIL import Image

from dsabench.config.eval_config import EvalConfig
from dsabench.data import Datasets
from dsabench.evaluation.encoder import run_encoder
from dsabench.evaluation.evaluate import Evaluation
from dsabench.metrics import cdnv
from dsabench.training.store import Store


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a folder of grey squares: dark, middling and bright ones, and a bright one in the wrong folder."""
    folder, draw = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 8)):
        for name, level in (("dark", 40), ("middle", 120), ("bright", 210)):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(level + 20 * draw.normal(size=(8, 8)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i:02}.png")
    stray = Image.fromarray(np.full((8, 8), 215, np.uint8))
    stray.save(folder / "test" / "dark" / "stray.png")
    done = dsabench(
        *("pretrain", "--method", "random", "--dataset", "imagefolder", "--data-dir", folder, "--runs"),
        *(folder / "runs", "--device", "cpu", "--backbone", "resnet8w16", "--image-size", "8", "-q"),
    )
    assert done.code == 0, done.err
    return folder / "runs"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_hold_every_class_every_pair_and_the_stray_image(runs: Path, tmp_path: Path) -> None:
    output = tmp_path / "t.csv"
    done = dsabench(
        *("eval", "--runs", runs, "--probe", "cdnv", "--layer", "pixels", "--layer", "backbone"),
        *("--per-class", "--output", output),
    )
    assert done.code == 0, done.err
    for word in ("crowded by", "CDNV of each two classes", "stray.png"):
        assert word in done.out
    pixels = [line for line in table(tmp_path / "t-images.csv") if line["layer"] == "pixels"]
    worst = pixels[0]
    assert (worst["image"], worst["label"], worst["nearest"]) == ("dark/stray.png", "dark", "bright")
    assert worst["answered"] == "bright"
    assert float(worst["own_distance"]) > float(worst["other_distance"])
    ratios = [float(line["own_distance"]) / float(line["other_distance"]) for line in pixels]
    assert len(ratios) == 25
    assert ratios == sorted(ratios, reverse=True)

    (row,) = [row for row in table(output) if row["layer"] == "backbone"]
    matrix = [line for line in table(tmp_path / "t-matrix.csv") if line["layer"] == "backbone"]
    assert np.mean([float(line["value"]) for line in matrix if line["metric"] == "cdnv"]) == pytest.approx(
        float(row["value"])
    )
    assert sum(line["metric"] == "knn" for line in matrix) == 9
    classes = [line for line in table(tmp_path / "t-classes.csv") if line["layer"] == "backbone"]
    assert {line["class"]: line["value"] for line in classes if line["metric"] == "n"} == {
        "bright": "8",
        "dark": "9",
        "middle": "8",
    }
    assert {line["run_id"] for line in classes} == {row["run_id"]}
    recall = [float(line["value"]) for line in classes if line["metric"] == "accuracy"]
    shares = [float(x["value"]) for x in matrix if x["metric"] == "knn" and x["class"] == x["other"]]
    assert recall == shares


def test_nothing_moves_beside_it(runs: Path) -> None:
    (layer,) = Evaluation(
        run_encoder(Store(runs).newest_finished(), Datasets(offline=True)),
        EvalConfig(("cdnv",)),
        Datasets(offline=True),
    ).layers()
    x, y = layer.inputs.test
    plain = dsabench("eval", "--runs", runs, "--probe", "cdnv", "--json")
    with_classes = dsabench("eval", "--runs", runs, "--probe", "cdnv", "--json", "--per-class")
    assert plain.out == with_classes.out
    assert f'"value": {cdnv(x, y)!r}' in plain.out
