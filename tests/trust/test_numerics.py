"""Numbers at their limits, from images to rows: a literal value, an empty one with a note, or one error."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import TINY, Result, dsabench
from harm import LISTED
from PIL import Image
from torch import Tensor

from dsabench.cli import UNEXPECTED
from dsabench.methods.simclr import SimCLR
from dsabench.metrics import measure
from dsabench.tables.rows import Row, read_csv

DRAW = np.random.default_rng(0)
# A mean distance of nothing over one of something, or the other way round.
UNBOUNDED = {"cdnv", "fisher_ratio", "davies_bouldin"}
CHEAP = ("--probe", "knn", "--probe", "crowding")

Pixels = Callable[[int, int], np.ndarray]


def noise(label: int, number: int) -> np.ndarray:
    return DRAW.integers(0, 256, (8, 8, 3), dtype=np.uint8)


def constant(label: int, number: int) -> np.ndarray:
    return np.full((8, 8, 3), 128, dtype=np.uint8)


def by_class(label: int, number: int) -> np.ndarray:
    return np.full((8, 8, 3), 60 * label, dtype=np.uint8)


def write_images(folder: Path, counts: dict[str, tuple[int, int]], pixels: Pixels) -> None:
    """So many training and test images of each class."""
    for label, (name, amounts) in enumerate(counts.items()):
        for split, amount in zip(("train", "test"), amounts, strict=True):
            for number in range(amount):
                path = folder / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels(label, number)).save(path)


def sound(result: Result) -> None:
    assert result.code in LISTED, result
    assert "Traceback" not in result.err, result
    assert UNEXPECTED not in result.err, result


def trained_and_measured(tmp_path: Path, *more: object) -> list[Row]:
    """The rows of a run on the images of a test; none where it was refused, with one line."""
    images = ("--dataset", "imagefolder", "--data-dir", tmp_path / "images", "--runs", tmp_path / "runs")
    done = dsabench("pretrain", *TINY, *images, *more)
    sound(done)
    if done.code:
        assert done.err.splitlines()[-1].startswith("dsabench: ")
        return []
    found = dsabench("eval", "--runs", tmp_path / "runs", *CHEAP, "--output", tmp_path / "t.csv")
    sound(found)
    assert found.code == 0, found.err
    rows = read_csv(tmp_path / "t.csv")
    for row in rows:
        # What is not defined is empty and says why; nan is what a metric answers where a collapse would score best.
        assert row.value is not None or row.note, row
        assert row.value is None or not math.isinf(row.value) or row.metric in UNBOUNDED, row
    return rows


@pytest.mark.parametrize(
    ("counts", "pixels", "batch"),
    [
        pytest.param({"a": (20, 6), "b": (20, 6)}, constant, 8, id="constant images"),
        pytest.param({"a": (20, 6), "b": (20, 6)}, by_class, 8, id="identical images of a class"),
        pytest.param({"a": (30, 6)}, noise, 8, id="one class"),
        pytest.param({"a": (3, 2), "b": (2, 2)}, noise, 2, id="five images"),
        pytest.param({"a": (10, 3), "b": (10, 3)}, noise, 17, id="last batch of one"),
        pytest.param({"a": (20, 6), "b": (1, 6)}, noise, 4, id="a class of one image"),
        pytest.param({"a": (20, 6), "b": (20, 0)}, noise, 8, id="a class without test images"),
    ],
)
def test_images_at_their_limits(counts: dict[str, tuple[int, int]], pixels: Pixels, batch: int, tmp_path: Path) -> None:
    write_images(tmp_path / "images", counts, pixels)
    trained_and_measured(tmp_path, "--batch-size", batch)


def test_more_neighbours_than_images_are_all_of_them(tmp_path: Path) -> None:
    x, y = DRAW.normal(size=(9, 4)).astype(np.float32), np.array([0, 1, 0, 1, 0, 1, 0, 1, 0])
    test_x, test_y = DRAW.normal(size=(5, 4)).astype(np.float32), np.array([0, 1, 0, 1, 0])
    splits = {"x_train": x, "y_train": y, "x_val": test_x, "y_val": test_y, "x_test": test_x, "y_test": test_y}
    np.savez(tmp_path / "e.npz", **splits)
    done = dsabench("eval", "--features", tmp_path / "e.npz", "--probe", "knn[k=500]", "--output", tmp_path / "t.csv")
    sound(done)
    if done.code:
        assert "500" in done.err
        return
    unit, test_unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, test_x))
    votes = np.exp(test_unit @ unit.T / 0.07)
    scores = np.stack([votes[:, y == label].sum(axis=1) for label in (0, 1)], axis=1)
    (row,) = read_csv(tmp_path / "t.csv")
    assert row.value == pytest.approx(float((scores.argmax(axis=1) == test_y).mean()))


def test_gaps_in_labels_change_no_value(tmp_path: Path) -> None:
    x, y = DRAW.normal(size=(40, 4)).astype(np.float32), np.arange(40) % 3
    values = []
    for name, labels in (("dense", y), ("gaps", y * 1000 - 7)):
        np.savez(tmp_path / f"{name}.npz", x=x, y=labels)
        words = ("eval", "--features", f"e={tmp_path / name}.npz", *CHEAP, "--output", tmp_path / f"{name}.csv")
        done = dsabench(*words)
        assert done.code == 0, done.err
        values.append([(row.metric, row.value) for row in read_csv(tmp_path / f"{name}.csv")])
    assert values[0] == values[1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_features_that_are_not_finite_are_refused_by_name(bad: float, tmp_path: Path) -> None:
    x = DRAW.normal(size=(40, 4)).astype(np.float32)
    x[3, 2] = bad
    np.savez(tmp_path / "e.npz", x=x, y=np.arange(40) % 2)
    done = dsabench("eval", "--features", tmp_path / "e.npz", *CHEAP)
    sound(done)
    assert done.code == 3
    assert "e.npz" in done.err


@pytest.mark.parametrize("stage", ["loss", "features", "weights"])
def test_nan_in_training_is_a_failed_run(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = SimCLR.forward

    def ruined(self: Any, views: Any) -> Any:
        if stage == "weights":
            with torch.no_grad():
                next(self.backbone.parameters()).fill_(math.nan)
        out = forward(self, views)
        if stage == "loss":
            return out._replace(loss=out.loss * math.nan)
        if stage == "features":
            return out._replace(h1=out.h1 * math.nan, z1=out.z1 * math.nan, loss=out.loss + (out.z1 * math.nan).sum())
        return out

    monkeypatch.setattr(SimCLR, "forward", ruined)
    words = ("compare", "simclr", "random", *TINY, "--seeds", "0", "--jobs", "1", *CHEAP, "--runs", tmp_path / "runs")
    done = dsabench(*words, "--output", tmp_path / "c")
    sound(done)
    rows = read_csv(tmp_path / "c.csv")
    assert [row.status for row in rows if row.method == "simclr"] == ["failed"]
    # The other arm stands as it would alone.
    assert {row.status for row in rows if row.method == "random"} == {"ok"}


def literal_cdnv(x: Tensor, y: Tensor) -> float:
    """Galanti et al., arXiv 2112.15121, definition 1, over all pairs of classes, on the sphere, in float64."""
    unit = x.double() / x.double().norm(dim=1, keepdim=True)
    classes = y.unique()
    mean = [unit[y == c].mean(0) for c in classes]
    var = [((unit[y == c] - m) ** 2).sum(1).mean() for c, m in zip(classes, mean, strict=True)]
    pairs = [(i, j) for i in range(len(classes)) for j in range(len(classes)) if i != j]
    return float(sum((var[i] + var[j]) / (2 * ((mean[i] - mean[j]) ** 2).sum()) for i, j in pairs) / len(pairs))


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-6, 1e-9])
def test_nearly_collapsed_features_have_the_literal_value(spread: float) -> None:
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    centre = torch.ones(8, dtype=torch.float64)
    x = centre + spread * torch.randn(60, 8, generator=draw, dtype=torch.float64)
    found = measure(x, y)
    assert found["cdnv"] == pytest.approx(literal_cdnv(x, y), rel=1e-4 if spread > 1e-8 else 1e-2)
    assert all(not math.isinf(value) for value in found.values()), found
