"""Two single models: intervals over images against plain resampling, the metrics themselves, and normal theory."""

import math

import numpy as np
import pytest
import torch

from dsabench import metrics
from dsabench.stats.bootstrap import features_interval, image_weights, weighted_cdnv, weighted_moments
from dsabench.stats.weights import OF_MOMENTS, Resampled, accuracy_interval, geometry_interval


def features(seed: int, n: int = 90) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    # Classes of unequal sizes.
    classes = torch.cat([torch.arange(3), torch.randint(3, (n - 3,), generator=generator) ** 2 % 3])
    return torch.randn(3, 8, generator=generator)[classes] * 2 + torch.randn(n, 8, generator=generator), classes


@pytest.mark.parametrize("name", OF_MOMENTS)
def test_a_metric_of_moments_is_the_metric_on_repeated_images(name: str) -> None:
    x, classes = features(0)
    weights = torch.from_numpy(image_weights(classes.numpy(), 4))
    found = OF_MOMENTS[name](weighted_moments(x, classes, weights))
    metric = getattr(metrics, name)
    repeated = [metric(x.repeat_interleave(r.long(), dim=0), classes.repeat_interleave(r.long())) for r in weights]
    assert found.tolist() == pytest.approx(repeated, rel=1e-10)


def test_an_accuracy_is_resampled_as_images_are() -> None:
    generator = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [200, 80, 20])
    # Means over few draws, as few-shot answers are: not only right or wrong.
    ours, theirs = (generator.integers(0, 5, 300) / 4 for _ in range(2))
    low, high = accuracy_interval(ours, theirs, classes, draws=20_000)
    plain = image_weights(classes, 20_000).astype(float) @ (ours - theirs) / 300
    width = high - low
    assert (low, high) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.03 * width)
    assert accuracy_interval(ours, ours, classes) == (0, 0)
    turned = accuracy_interval(theirs, ours, classes, draws=20_000)
    assert turned == pytest.approx((-high, -low), abs=0.03 * width)
    with pytest.raises(ValueError, match=r"\(N,\)"):
        accuracy_interval(ours, theirs[:-1], classes)


def test_the_interval_covers_what_all_images_would_say() -> None:
    generator = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        classes = np.arange(200) % 4
        easy = generator.random(200)
        ours, theirs = easy < 0.8, (easy < 0.7) | (generator.random(200) < 0.1)
        low, high = accuracy_interval(ours, theirs, classes, draws=400)
        covered.append(low <= 0.8 - (0.7 + 0.3 * 0.1) <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_geometry_is_bounded_around_its_difference() -> None:
    (x, classes), other = features(0), features(0)[0] * torch.tensor([1.0, 0.2]).repeat(4)
    ours, theirs = Resampled(x, classes, draws=500), Resampled(other, classes, draws=500)
    for name in OF_MOMENTS:
        metric = getattr(metrics, name)
        difference = metric(x, classes) - metric(other, classes)
        low, high = geometry_interval(name, ours, theirs, difference)
        assert low < difference < high
        assert geometry_interval(name, ours, ours, 0.0) == (0, 0)
    collapsed = Resampled(torch.ones_like(x), classes, draws=500)
    assert geometry_interval("cdnv", ours, collapsed, math.nan) == (-math.inf, math.inf)


def test_many_seeds_of_one_model_leave_the_images_alone() -> None:
    x, classes = features(0)
    other = x * torch.tensor([1.0, 0.5]).repeat(4)
    single = geometry_interval(
        "cdnv",
        Resampled(x, classes),
        Resampled(other, classes),
        metrics.cdnv(x, classes) - metrics.cdnv(other, classes),
    )
    assert features_interval(weighted_cdnv, [x] * 6, [other] * 6, classes) == pytest.approx(single, rel=1e-9)
