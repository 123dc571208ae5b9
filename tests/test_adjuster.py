"""The linear map that features go through in the end: what it keeps, what it takes back, and of which axes."""

from __future__ import annotations

import math

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
        (torch.ones(9, 4), {"k": 0}, "k and times must be >= 1"),
        (torch.ones(9, 4), {"times": 0}, "k and times must be >= 1"),
    ],
)
def test_what_cannot_be_adjusted_is_said(x: Tensor, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adjuster(4).fit(x, **options)
