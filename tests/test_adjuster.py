"""The linear map that features go through in the end: what it keeps, what it takes back, and of which axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dsabench import adjuster as module
from dsabench.adjuster import Adjuster, kept, nearest, own_covariance


def classes_in_noise(seed: int = 0, classes: int = 6, each: int = 60, width: int = 24) -> tuple[Tensor, Tensor]:
    """Features (N, D), their classes (N,): class means in few axes, and noise along four others that hides them."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(classes).repeat_interleave(each)
    means = torch.zeros(classes, width)
    means[:, :5] = torch.randn(classes, 5, generator=generator)
    spread = torch.full((width,), 0.15)
    spread[-4:] = 2.0
    x = means[y] + spread * torch.randn(len(y), width, generator=generator)
    turn, _ = torch.linalg.qr(torch.randn(width, width, generator=generator))
    return x @ turn, y


def same_class(x: Tensor, y: Tensor, k: int = 5) -> float:
    """The share of the k nearest by cosine that have the class of an image."""
    near, _ = nearest(normalize(x.double(), dim=1), k)
    return float((y[near] == y[:, None]).double().mean())


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_of_adjusted_features_share_a_class_as_if_the_noise_were_known(seed: int) -> None:
    x, y = classes_in_noise(seed)
    centred = torch.cat([x[y == c] - x[y == c].mean(dim=0) for c in range(int(y.max()) + 1)])
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(x))
    told = same_class((x - x.mean(dim=0)) @ (axes * variances**-0.5), y)
    plain, adjusted = same_class(x, y), same_class(Adjuster(x.shape[1]).fit(x)(x), y)
    assert plain < 0.85
    assert adjusted > plain + 0.6 * (told - plain)


def test_what_a_map_reads_is_what_it_says_whatever_the_axes_the_scale_and_the_order() -> None:
    x, _ = classes_in_noise()
    adjuster = Adjuster(x.shape[1]).fit(x)
    found = adjuster(x)
    assert torch.equal(adjuster.map, adjuster.map.T)
    assert float(found.square().sum(dim=1).mean()) == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(x.shape[1]), atol=1e-5, rtol=0)
    turn, _ = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(1)))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(2))
    for other, wanted in ((3 * x, found), (x @ turn, found @ turn), (x[order], found[order])):
        torch.testing.assert_close(Adjuster(x.shape[1]).fit(other)(other), wanted, atol=2e-4, rtol=0)


def test_what_is_an_images_own_is_the_half_of_the_differences_of_mutual_neighbours() -> None:
    unit = normalize(torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=1)
    u, k = unit.numpy(), 4
    cosine = u @ u.T - 9 * np.eye(len(u))
    close = [set(np.argsort(-row)[:k]) for row in cosine]
    pairs = [(i, j) for i in range(len(u)) for j in close[i] if i in close[j]]
    raw = sum(np.outer(u[i] - u[j], u[i] - u[j]) for i, j in pairs) / (2 * len(pairs))
    n, d = u.shape
    square, trace = np.trace(raw @ raw), np.trace(raw)
    weight = min(1, ((1 - 2 / d) * square + trace**2) / ((n + 1 - 2 / d) * (square - trace**2 / d)))
    expected = (1 - weight) * raw + weight * trace / d * np.eye(d)
    np.testing.assert_allclose(own_covariance(unit, k).numpy(), expected, rtol=1e-12, atol=1e-15)


def test_of_each_axis_that_share_is_kept_which_is_not_an_images_own() -> None:
    x, _ = classes_in_noise()
    unit = normalize(x.double(), dim=1)
    own = own_covariance(unit, 8)
    centred = unit - unit.mean(dim=0)
    variances, axes = scipy.linalg.eigh((centred.T @ centred / len(unit)).numpy(), own.numpy())
    shares = np.clip(1 - 1 / variances, 0, None)
    assert shares.max() > 0.5 > shares.min()
    expected = axes @ np.diag(shares**2) @ axes.T
    found = kept(unit, 8)
    np.testing.assert_allclose((found @ found.T).numpy(), expected, rtol=1e-8, atol=1e-8)


def classes_in_groups(seed: int) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
    """Features (N, D), those of two views, and classes (N,): groups that are no classes set most of the features
    apart, and views of one image fall into any of them."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(6).repeat_interleave(60)
    means = torch.zeros(6, 24)
    means[:, :5] = torch.randn(6, 5, generator=generator)
    groups = torch.zeros(30, 24)
    groups[:, 5:9] = 5 * torch.randn(30, 4, generator=generator)

    turn, _ = torch.linalg.qr(torch.randn(24, 24, generator=generator))
    own = means[y] + 0.5 * torch.randn(len(y), 24, generator=generator)

    def seen() -> Tensor:
        return (own + groups[torch.randint(30, (len(y),), generator=generator)]) @ turn

    return seen(), (seen(), seen()), y


@pytest.mark.parametrize("seed", range(5))
def test_views_take_back_groups_that_neighbours_take_for_meant(seed: int) -> None:
    x, views, y = classes_in_groups(seed)
    plain, alone = same_class(x, y), same_class(Adjuster(24).fit(x)(x), y)
    assert alone < plain
    assert same_class(Adjuster(24).fit(x, views)(x), y) > plain + 0.2


def test_with_views_a_map_is_what_its_definition_says() -> None:
    x, (one, other), _ = classes_in_groups(0)

    def unit(rows: Any) -> Any:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def shrunk(differences: Any, n: int) -> Any:
        found, d = differences.T @ differences / (2 * len(differences)), differences.shape[1]
        square, trace = np.trace(found @ found), np.trace(found)
        weight = min(1, ((1 - 2 / d) * square + trace**2) / ((n + 1 - 2 / d) * (square - trace**2 / d)))
        return (1 - weight) * found + weight * trace / d * np.eye(d)

    def neighbours(rows: Any) -> Any:
        cosine = rows @ rows.T - 9 * np.eye(len(rows))
        close = [set(np.argsort(-row)[:8]) for row in cosine]
        return shrunk(np.array([rows[i] - rows[j] for i in range(len(rows)) for j in close[i] if i in close[j]]), 360)

    # A metric (D, D) is what a map is times its transpose, and asks for no root that is one of many.
    u = unit(x.double().numpy())
    mean = u.mean(axis=0)
    u = u - mean
    own = shrunk(unit(one.double().numpy()) - unit(other.double().numpy()), 360)
    linear = scipy.linalg.inv(scipy.linalg.sqrtm(own).real)
    for _ in range(5):
        linear = linear @ scipy.linalg.inv(scipy.linalg.sqrtm(neighbours(unit(u @ linear))).real)
    rows = unit(u @ linear)
    variances, axes = scipy.linalg.eigh(np.cov(rows.T, bias=True), neighbours(rows))
    linear = linear @ axes * np.clip(1 - 1 / variances, 0, None) ** 2
    metric = linear @ linear.T
    metric /= np.trace(metric @ u.T @ u) / len(u)
    adjuster = Adjuster(24).fit(x, (one, other))
    found = adjuster.map.double()
    np.testing.assert_allclose((found @ found.T).numpy(), metric, rtol=1e-4, atol=1e-4 * np.abs(metric).max())
    np.testing.assert_allclose(adjuster.mean.numpy(), mean, atol=1e-6)


def test_views_that_do_not_differ_say_nothing() -> None:
    x, _ = classes_in_noise()
    assert bool(Adjuster(24).fit(x, (x[:50], x[:50])).map.isfinite().all())
    torch.testing.assert_close(Adjuster(24).fit(x, (x[:0], x[:0])).map, Adjuster(24).fit(x).map)


def test_axes_that_say_nothing_are_mapped_to_nothing() -> None:
    x, _ = classes_in_noise()
    dead = torch.cat([x, torch.zeros(len(x), 2)], dim=1)
    adjuster = Adjuster(26).fit(dead)
    torch.testing.assert_close(adjuster.map[24:], torch.zeros(2, 26), atol=1e-6, rtol=0)
    torch.testing.assert_close(adjuster(dead)[:, :24], Adjuster(24).fit(x)(x), atol=2e-4, rtol=0)
    # Features that have collapsed stay so, and are no error: a table says of them what there is to say.
    assert torch.equal(Adjuster(4).fit(torch.ones(9, 4)).map, torch.zeros(4, 4))


@pytest.mark.parametrize("shape", [(3, 1), (3, 8), (30, 1), (20, 64)])
def test_few_features_and_narrow_ones_have_a_map_too(shape: tuple[int, int]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    adjuster = Adjuster(shape[1]).fit(x)
    assert bool(adjuster(x).isfinite().all())
    assert bool((adjuster.map != 0).any())


def test_of_many_features_some_are_looked_at_evenly_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 100)
    x, _ = classes_in_noise()
    chosen = x[[math.floor(i * (len(x) - 1) / 99) for i in range(100)]]
    torch.testing.assert_close(Adjuster(24).fit(x).map, Adjuster(24).fit(chosen).map)


def test_features_of_other_types_keep_theirs() -> None:
    x, _ = classes_in_noise()
    adjuster = Adjuster(24).fit(x)
    for kind in (torch.float64, torch.bfloat16):
        assert adjuster(x.to(kind)).dtype == kind
    torch.testing.assert_close(adjuster(x.double()).float(), adjuster(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.ones(2, 4), {}, "needs 3 features, got 2"),
        (torch.full((9, 4), float("nan")), {}, "finite"),
        (torch.ones(9, 4), {"k": 0}, "k must be >= 1"),
        (torch.ones(9, 4), {"views": (torch.ones(5, 4), torch.ones(6, 4))}, r"got \(5, 4\) and \(6, 4\)"),
        (torch.ones(9, 4), {"views": (torch.ones(5, 3), torch.ones(5, 3))}, r"must be \(M, 4\) both"),
        (torch.ones(9, 4), {"views": (torch.ones(5, 4), torch.full((5, 4), math.inf))}, "finite"),
    ],
)
def test_what_cannot_be_adjusted_is_said(x: Tensor, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adjuster(4).fit(x, **options)
