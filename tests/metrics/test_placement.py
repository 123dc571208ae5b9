"""Class by class and sample by sample: against loops over the definitions, and against the metrics that sum them up."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from dsabench.metrics import measure
from dsabench.metrics.crowding import pairwise_cdnv
from dsabench.metrics.overlap import pairwise_directional_cdnv
from dsabench.metrics.placement import class_values, confusion, places
from dsabench.metrics.samples import Samples

SUMMED = ("intra_class_variance", "cdnv", "directional_cdnv", "nearest_class_gap", "class_overlap")


def case(seed: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Crowded classes with gaps in the ids, one of them with a single sample."""
    draw = np.random.default_rng(seed)
    y = np.array([7, *draw.choice([-3, 0, 11, 12], size=59)])
    means = {c: draw.normal(size=6) for c in (-3, 0, 7, 11, 12)}
    x = np.stack([means[c] + draw.normal(size=6) for c in y])
    return scale * x, y


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(20))
def test_every_pair_and_every_class_is_as_its_definition_says(seed: int) -> None:
    x, y = case(seed, 10.0 ** (seed % 3 - 1))
    u, ids = unit(x), np.unique(y)
    mu = np.stack([u[y == c].mean(axis=0) for c in ids])
    var = np.array([np.mean(np.sum((u[y == c] - m) ** 2, axis=1)) for c, m in zip(ids, mu, strict=True)])
    samples = Samples(x, y)
    crowding, directional = pairwise_cdnv(samples), pairwise_directional_cdnv(samples)
    for a in range(len(ids)):
        for b in range(len(ids)):
            if a != b:
                line = mu[a] - mu[b]
                assert float(crowding[a, b]) == pytest.approx((var[a] + var[b]) / (2 * line @ line), rel=1e-9)
                along = np.mean(((u[y == ids[a]] - mu[a]) @ line) ** 2) / (line @ line) ** 2
                assert float(directional[a, b]) == pytest.approx(along, rel=1e-9)
    found = places(samples)
    distances = np.linalg.norm(u[:, None] - mu, axis=2)
    own = np.searchsorted(ids, y)
    others = distances.copy()
    others[np.arange(len(y)), own] = np.inf
    assert found.own.numpy() == pytest.approx(distances[np.arange(len(y)), own], rel=1e-9)
    assert found.other.numpy() == pytest.approx(others.min(axis=1), rel=1e-9)
    assert np.array_equal(found.nearest.numpy(), others.argmin(axis=1))
    values = class_values(samples)
    nearer = others.min(axis=1) < distances[np.arange(len(y)), own]
    assert values["class_overlap"].numpy() == pytest.approx([nearer[y == c].mean() for c in ids])
    assert values["nearest_class_gap"].numpy() == pytest.approx(
        [min(np.sum((m - o) ** 2) for o in np.delete(mu, k, axis=0)) for k, m in enumerate(mu)]
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_metrics_are_means_of_the_values_of_classes(seed: int) -> None:
    x, y = case(seed)
    samples = Samples(x, y)
    values, metrics = class_values(samples), measure(x, y, SUMMED)
    counts = samples.moments.counts
    for name in SUMMED:
        weights = counts if name == "class_overlap" else torch.ones_like(counts)
        assert float(weights @ values[name] / weights.sum()) == pytest.approx(metrics[name], rel=1e-12), name


def test_a_collapse_has_no_places() -> None:
    samples = Samples(np.ones((8, 3)), np.arange(8) % 2)
    assert places(samples).ratio.isnan().all()
    assert class_values(samples)["cdnv"].isnan().all()


def test_confusion_is_that_of_scikit_learn_over_all_draws() -> None:
    draw = np.random.default_rng(0)
    y, predicted = draw.integers(0, 4, 50), draw.integers(0, 5, (3, 50))
    expected = confusion_matrix(np.tile(y, 3), predicted.ravel(), labels=range(5)).astype(float)
    with np.errstate(invalid="ignore"):
        expected /= expected.sum(axis=1, keepdims=True)
    found = confusion(torch.from_numpy(y), torch.from_numpy(predicted), 5).numpy()
    assert np.array_equal(found, expected, equal_nan=True)
    assert np.isnan(found[4]).all()
