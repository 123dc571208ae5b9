"""Crowding metrics against loops over pairs, scikit-learn, hand-made geometry and their invariances."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_score

import dsabench.metrics as metrics
from dsabench.errors import UsageError
from dsabench.metrics import METRICS
from dsabench.metrics import samples as prepare
from dsabench.registry import load

Metric = Callable[[Any, Any], float]
CORE = [name for name, entry in METRICS.items() if entry.tier == "core"]
HERE = [*CORE, "alignment"]
CLUSTERING = ["kmeans_nmi", "kmeans_ari", "kmeans_accuracy"]
NEEDS_NO_CLASSES = [
    "intra_class_variance", "alignment", "uniformity", "rankme", "feature_std", "hubness", "effective_rank",
    "alpha_req", "anisotropy", "intrinsic_dimension",
]  # fmt: skip


def blobs(n: int = 60, dim: int = 5, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return generator.normal(size=(classes, dim))[y] + 0.5 * generator.normal(size=(n, dim)), y


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def metric(name: str) -> Metric:
    return load(METRICS, "metric", name)


@pytest.mark.parametrize("name", [name for name in METRICS if name not in CLUSTERING])
def test_metrics_ignore_scale_and_order_and_all_but_feature_std_rotation(name: str) -> None:
    x, y = blobs()
    value, order = metric(name)(x, y), np.random.default_rng(1).permutation(60)
    assert metric(name)((x * np.linspace(0.1, 100, 60)[:, None])[order], y[order]) == pytest.approx(value, rel=1e-9)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    if name != "feature_std":
        assert metric(name)(x @ rotation, y) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64])
def test_metrics_compute_in_double_whatever_the_type(name: str, dtype: torch.dtype) -> None:
    x, y = blobs()
    stored = torch.from_numpy(4 * x).to(dtype)
    value = metric(name)(stored, torch.from_numpy(y))
    assert type(value) is float
    assert value == metric(name)(stored.double().numpy(), y)


@pytest.mark.parametrize("name", ["intra_class_variance", "cdnv", "fisher_ratio", "alignment"])
def test_tight_classes_keep_their_digits(name: str) -> None:
    # Two classes of spread 1e-7 on the circle; with t the angle, a unit vector is (cos t, sin t).
    angles = np.array([0.0, 1e-7, -1e-7])
    spread, apart = 2 * 1e-14 / 3, 2.0
    expected = {
        "intra_class_variance": spread,
        "cdnv": spread / apart,
        "fisher_ratio": (apart / 4) / spread,
        "alignment": 3 * spread,
    }
    t = np.concatenate([angles, angles + math.pi / 2])
    x, y = np.stack([np.cos(t), np.sin(t)], axis=1), np.repeat([0, 1], 3)
    assert metric(name)(x, y) == pytest.approx(expected[name], rel=1e-6)


def test_orthogonal_points() -> None:
    x, y = np.eye(4)[[0, 0, 1, 1, 2, 2, 3, 3]], np.repeat(range(4), 2)
    assert [metric(name)(x, y) for name in CORE] == pytest.approx(
        # Per dimension: mean 1/4, mean square 1/4.
        [0, 2, 0, math.inf, 1, 0, math.log((8 + 48 * math.exp(-4)) / 56), 4, math.sqrt(3 / 16)],
        abs=1e-5,
    )


def test_uniformity_does_not_depend_on_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs()
    whole = metrics.uniformity(x, y)
    monkeypatch.setattr("dsabench.metrics.geometry.BLOCK_ROWS", 7)
    assert metrics.uniformity(x, y) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("name", ["silhouette", "uniformity"])
def test_large_sets_are_subsampled_the_same_way_each_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(4000)
    whole = metric(name)(x, y)
    monkeypatch.setattr(prepare, "MAX_PAIRED", 1000)
    drawn = metric(name)(x, y)
    assert drawn == metric(name)(x, y) != whole
    assert drawn == pytest.approx(whole, rel=0.05)


def test_silhouette_leaves_out_classes_that_the_subsample_cannot_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "MAX_PAIRED", 100)
    x, y = blobs(200)
    y[prepare.subsample(200)[5]] = 99
    kept = prepare.subsample(200).numpy()
    kept = kept[y[kept] != 99]
    assert metrics.silhouette(x, y) == pytest.approx(silhouette_score(unit(x)[kept], y[kept]))


@pytest.mark.parametrize("name", METRICS)
def test_a_class_of_one_sample_and_rows_of_zeros_are_finite(name: str) -> None:
    x, y = blobs()
    y[0], x[1] = 99, 0
    assert math.isfinite(metric(name)(x, y))


def test_alignment_leaves_single_samples_out() -> None:
    x, y = blobs()
    lone = np.append(y, 99)
    assert metrics.alignment(np.vstack([x, x[:1]]), lone) == pytest.approx(metrics.alignment(x, y))
    with pytest.raises(ValueError, match="at least 2 samples"):
        metrics.alignment(x, np.arange(60))


@pytest.mark.parametrize("name", METRICS)
def test_a_collapse_never_scores_well(name: str) -> None:
    x, y = np.full((30, 3), [0.1, 0.7, 0.3]), np.arange(30) % 3
    collapsed = {
        "intra_class_variance": 0, "inter_class_separation": 0, "cdnv": math.nan, "fisher_ratio": math.nan,
        "silhouette": 0, "davies_bouldin": math.nan, "alignment": 0, "uniformity": 0, "rankme": 1, "feature_std": 0,
        "directional_cdnv": math.nan, "nearest_class_gap": 0, "class_overlap": 1, "calinski_harabasz": math.nan,
        "nc1": math.nan, "nc2": math.nan, "nc2_equinorm": math.nan, "hubness": math.nan, "effective_rank": math.nan,
        "alpha_req": math.nan, "anisotropy": 1, "intrinsic_dimension": math.nan,
        # As if drawn: 9 of 29 others are mates, and one cluster holds a third of the samples.
        "r_precision": 9 / 29, "map_at_k": sum(9 / 29 * (1 + rank * 8 / 28) / (rank + 1) for rank in range(10)) / 9,
        "kmeans_nmi": 0, "kmeans_ari": 0, "kmeans_accuracy": 1 / 3,
    }  # fmt: skip
    assert metric(name)(x, y) == pytest.approx(collapsed[name], abs=1e-5, nan_ok=True)
    lengths = np.array([1.0, 3.0, 1e-3])[y, None]
    assert metric(name)(x * lengths, y) == pytest.approx(collapsed[name], abs=1e-5, nan_ok=True)
    assert metrics.rankme(0 * x, y) == 0


@pytest.mark.parametrize("name", METRICS)
def test_wrong_input_is_refused(name: str) -> None:
    x, y = blobs()
    for wrong, text in [
        ((x, y[:-1]), "features must be"),
        ((x[0], y), "features must be"),
        ((x, y[:, None]), "features must be"),
        ((x, y.astype(float)), "integers"),
        ((x[:1], y[:1]), "at least 2 samples"),
        ((np.where(x == x.max(), np.nan, x), y), "finite; 1 of 60"),
        ((np.where(x == x.max(), np.inf, x), y), "finite; 1 of 60"),
    ]:
        with pytest.raises(ValueError, match=text):
            metric(name)(*wrong)
    if name not in NEEDS_NO_CLASSES:
        with pytest.raises(ValueError, match="at least 2 classes"):
            metric(name)(x, 0 * y)
    else:
        assert math.isfinite(metric(name)(x, 0 * y))


@pytest.mark.parametrize("name", ["silhouette", "davies_bouldin"])
def test_a_class_per_sample_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="fewer classes than samples"):
        metric(name)(blobs()[0], np.arange(60))


def test_input_is_left_as_it_was() -> None:
    x, y = blobs()
    before = x.copy(), y.copy()
    for name in METRICS:
        metric(name)(x, y)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_measure_is_of_the_core_metrics_or_of_those_named() -> None:
    x, y = blobs()
    assert list(metrics.measure(x, y)) == CORE
    with pytest.raises(UsageError, match=r"unknown metric 'knn'.*cdnv.*dsabench\.evaluate\(module, data, probes="):
        metrics.measure(x, y, ["knn"])
    assert metrics.measure(x, y, ["alignment", "cdnv"]) == {
        "alignment": metrics.alignment(x, y),
        "cdnv": metrics.cdnv(x, y),
    }
    with pytest.raises(UsageError, match="did you mean 'cdnv'"):
        metrics.measure(x, y, ["cdvn"])


def test_classes_may_be_words() -> None:
    x, y = blobs()
    expected = metrics.measure(x, y)
    words = np.array(["tench", "ox", "cat", "ant"])[y]
    for labels in (words, words.tolist(), words.astype(object), y.tolist(), [None if c == "ox" else c for c in words]):
        assert metrics.measure(x, labels) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="features must be"):
        metrics.measure(x, words[:-1])


def test_names_are_importable_and_typos_are_attribute_errors() -> None:
    assert set(metrics.__all__) == {"METRICS", "measure", *METRICS}
    assert all(getattr(metrics, name) is metric(name) for name in METRICS)
    with pytest.raises(AttributeError, match="cdvn"):
        metrics.cdvn  # noqa: B018


def test_listing_metrics_probes_and_statistics_does_not_import_torch() -> None:
    code = (
        "import sys; from dsabench.metrics import METRICS; from dsabench.probes import PROBES; "
        "import dsabench.stats; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
