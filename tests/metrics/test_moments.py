"""What one pass leaves behind, against NumPy on all rows at once; and that metrics share it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dsabench.metrics import METRICS, measure
from dsabench.metrics import samples as prepare
from dsabench.metrics.moments import ClassMoments, Triangle
from dsabench.metrics.samples import Samples
from dsabench.registry import load


def blobs(n: int = 400, dim: int = 7, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    # Classes of very different sizes, and blocks that hold some of them only.
    y = np.sort(np.minimum(generator.geometric(0.5, size=n), classes) - 1)
    return generator.normal(size=(classes, dim))[y] + 0.5 * generator.normal(size=(n, dim)), y


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("rows", [1, 13, 400])
def test_moments_in_blocks_are_those_of_all_rows(offset: float, rows: int) -> None:
    x, y = blobs()
    x = x + offset
    moments = ClassMoments.of_nothing(6, 7)
    for block, codes in zip(torch.from_numpy(x).split(rows), torch.from_numpy(y).split(rows), strict=True):
        moments.add(block.clone(), codes)
    # Wider than double where NumPy is, so that the reference is better than what it judges.
    wide = x.astype(np.longdouble)
    of_class = [wide[y == c] for c in range(5)]
    squares = [np.square(members - members.mean(axis=0)) for members in of_class]
    assert moments.counts.tolist() == [*map(len, of_class), 0]
    np.testing.assert_allclose(
        moments.means[:5], [np.float64(m.mean(axis=0)) for m in of_class], rtol=1e-14, atol=1e-14
    )
    np.testing.assert_allclose(moments.scatter[:5], [np.float64(s.sum()) for s in squares], rtol=1e-11)
    np.testing.assert_allclose(moments.within, np.float64(sum(s.sum(axis=0) for s in squares)), rtol=1e-11)
    np.testing.assert_allclose(moments.centre, np.float64(wide.mean(axis=0)), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("shape", [(300, 20), (12, 20)])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_the_triangle_keeps_small_singular_values(shape: tuple[int, int], rows: int) -> None:
    generator = np.random.default_rng(4)
    count = min(shape)
    left, right = (np.linalg.qr(generator.normal(size=(side, count)))[0] for side in shape)
    expected = np.logspace(0, -10, count)
    triangle = Triangle(20)
    for block in torch.from_numpy(left * expected @ right.T).split(rows):
        triangle.add(block)
    # The square of 1e-10 is lost in a float64 matrix of inner products.
    np.testing.assert_allclose(triangle.singular_values(), expected, rtol=1e-4, atol=1e-14)


def test_all_metrics_at_once_are_each_alone() -> None:
    x, y = blobs()
    assert measure(x, y, METRICS) == {name: load(METRICS, "metric", name)(x, y) for name in METRICS}


def test_metrics_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs()
    whole = measure(x, y)
    monkeypatch.setattr(prepare, "BLOCK_BYTES", 8 * 7 * 31)
    assert measure(x, y) == pytest.approx(whole, rel=1e-12)


def test_features_with_a_common_offset_keep_their_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    # On the sphere they lie within 1e-4 of each other.
    x, y = blobs()
    x = (x + 1e4).astype(np.float32)
    monkeypatch.setattr(prepare, "BLOCK_BYTES", 8 * 7 * 31)
    found = measure(x, y)
    wide = x.astype(np.longdouble)
    wide /= np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    means = np.stack([wide[y == c].mean(axis=0) for c in range(5)])
    variances = np.stack([np.square(wide[y == c] - means[c]).sum(axis=1).mean() for c in range(5)])
    radii = np.stack([np.sqrt(np.square(wide[y == c] - means[c]).sum(axis=1)).mean() for c in range(5)])
    apart = np.square(means[:, None] - means).sum(axis=2)
    others = ~np.eye(5, dtype=bool)
    np.fill_diagonal(apart, np.inf)
    expected = {
        "intra_class_variance": variances.mean(),
        "inter_class_separation": apart[others].mean(),
        "cdnv": ((variances[:, None] + variances) / (2 * apart))[others].mean(),
        "davies_bouldin": ((radii[:, None] + radii) / np.sqrt(apart)).max(axis=1).mean(),
        "feature_std": wide.std(axis=0).mean(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, rel=1e-9
    )


def test_no_more_than_a_block_of_rows_is_ever_made_double(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    unit = prepare._unit

    def watched(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return unit(rows)

    monkeypatch.setattr(prepare, "_unit", watched)
    monkeypatch.setattr(prepare, "MAX_PAIRED", 50)
    monkeypatch.setattr(prepare, "BLOCK_BYTES", 8 * 7 * 40)
    x, y = (torch.from_numpy(part) for part in blobs())
    samples = Samples(x, y).read_once()
    assert samples.x.data_ptr() == x.data_ptr()
    for name in (name for name, entry in METRICS.items() if entry.tier == "core"):
        load(METRICS, "metric", name).of(samples)
    # One pass for what is shared, one for Davies-Bouldin, the origin, and the subsample.
    assert sorted(sizes) == [1] + 20 * [40] + [50]
    for name in METRICS:
        load(METRICS, "metric", name).of(samples)
    assert sorted(sizes)[-2:] == [40, 50]
