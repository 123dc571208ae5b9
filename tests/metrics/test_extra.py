"""The metrics beyond the core on geometry that is known, and whatever way their distances are taken."""

from __future__ import annotations

import numpy as np
import pytest

import dsabench.metrics as metrics
from dsabench.metrics import METRICS, distances


def blobs(n: int = 40, dim: int = 5, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(5)
    y = np.arange(n) % classes
    return draw.normal(size=(classes, dim))[y] + 0.7 * draw.normal(size=(n, dim)), y


def test_blocks_and_the_way_to_distances_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs()
    names = [name for name, entry in METRICS.items() if entry.tier == "extra"]
    whole = metrics.measure(x, y, names)
    monkeypatch.setattr(distances, "BLOCK_ROWS", 5)
    monkeypatch.setattr("dsabench.metrics.samples.BLOCK_BYTES", 8 * x.shape[1] * 7)
    assert metrics.measure(x, y, names) == pytest.approx(whole, rel=1e-9)
    monkeypatch.setattr(distances, "TRUSTED", 10.0)
    assert metrics.measure(x, y, names) == pytest.approx(whole, rel=1e-9)


def test_directional_cdnv_is_at_most_cdnv_and_finds_the_direction() -> None:
    draw = np.random.default_rng(0)
    y = np.arange(4000) % 2
    # Far from the origin the sphere is flat: two classes 2 apart, spread .1 between them and 1 across.
    x = np.stack([2.0 * y + 0.1 * draw.normal(size=4000), draw.normal(size=4000), np.full(4000, 1e4)], axis=1)
    assert metrics.directional_cdnv(x, y) == pytest.approx(0.1**2 / 2**2, rel=0.1)
    assert metrics.cdnv(x, y) == pytest.approx(1.01 / 2**2, rel=0.1)


def test_collapsed_classes_on_a_simplex_are_neural_collapse() -> None:
    y = np.arange(40) % 5
    x = np.eye(5)[y]
    found = metrics.measure(x, y, ["nc1", "nc2", "nc2_equinorm", "class_overlap", "nearest_class_gap"])
    assert found == pytest.approx({"nc1": 0, "nc2": 0, "nc2_equinorm": 0, "class_overlap": 0, "nearest_class_gap": 2})
    stretched = x + 0.5 * np.eye(5)[0]
    assert metrics.nc2(stretched, y) > 0.1


def test_two_nn_finds_the_dimension_of_a_patch() -> None:
    draw = np.random.default_rng(1)
    patch = np.concatenate([draw.uniform(-0.01, 0.01, size=(2000, 2)), np.ones((2000, 1)), np.zeros((2000, 7))], axis=1)
    assert metrics.intrinsic_dimension(patch, np.zeros(2000, int)) == pytest.approx(2, abs=0.15)


def test_a_hub_is_found() -> None:
    draw = np.random.default_rng(2)
    # In many dimensions, what lies near the centre of the cloud is everyone's neighbour.
    y = np.zeros(300, int)
    low, high = (draw.normal(1.5, size=(300, dim)) for dim in (3, 200))
    assert metrics.hubness(high, y) > 2 > metrics.hubness(low, y)
    assert metrics.METRICS["hubness"].options == {"k": 10}
    assert metrics.hubness(high, y, k=30) != metrics.hubness(high, y)


def test_anisotropy_is_that_of_a_cone() -> None:
    draw = np.random.default_rng(3)
    x = draw.normal(size=(2000, 50))
    assert abs(metrics.anisotropy(x, np.zeros(2000, int))) < 0.01
    assert metrics.anisotropy(x + 100, np.zeros(2000, int)) > 0.99
