"""Intervals over seeds and images: against the metrics themselves, against normal theory, and their invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

from dsabench.metrics import cdnv, silhouette
from dsabench.stats import MetricKey, gap_closed, summarise
from dsabench.stats.bootstrap import (
    answers_interval,
    features_interval,
    gap_interval,
    image_weights,
    repeating,
    weighted_cdnv,
)

UNBOUNDED = (-math.inf, math.inf)


def features(seed: int, n: int = 60, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(n) % 4
    means = 2 * torch.randn(4, 16, generator=torch.Generator().manual_seed(99))
    return means[classes] + spread * torch.randn(n, 16, generator=generator), classes


def test_weighted_cdnv_is_the_metric_on_repeated_images() -> None:
    x, classes = features(0)
    weights = torch.from_numpy(image_weights(classes.numpy(), 5))
    assert float(weighted_cdnv(x, classes, torch.ones(1, len(x)))) == pytest.approx(cdnv(x, classes), rel=1e-12)
    repeated = [cdnv(x.repeat_interleave(row.long(), dim=0), classes.repeat_interleave(row.long())) for row in weights]
    assert weighted_cdnv(x, classes, weights).tolist() == pytest.approx(repeated, rel=1e-10)
    assert repeating(cdnv)(x, classes, weights).tolist() == repeated


def test_weighted_cdnv_keeps_the_digits_of_tight_classes_and_is_nan_for_a_collapse() -> None:
    x, classes = features(0)
    tight = 1 + 1e-7 * x.double()
    assert float(weighted_cdnv(tight, classes, torch.ones(1, len(x)))) == pytest.approx(cdnv(tight, classes), rel=1e-6)
    assert math.isnan(weighted_cdnv(torch.ones_like(x), classes, torch.ones(1, len(x))))


def test_images_are_drawn_class_by_class_and_the_same_each_time() -> None:
    classes = np.array([0] * 7 + [5] * 3 + [2])
    weights = image_weights(classes, 300)
    for label, n in ((0, 7), (5, 3), (2, 1)):
        assert set(weights[:, classes == label].sum(axis=1)) == {n}
    assert weights[:, :7].mean() == pytest.approx(1, abs=0.01)
    assert (weights == image_weights(classes, 300)).all()


def test_without_images_to_draw_the_interval_is_students() -> None:
    # Every image says the same, so seeds alone are uncertain.
    generator = np.random.default_rng(0)
    gains = generator.normal(0.1, 0.02, 10)
    ours = np.tile(gains[:, None], 20)
    low, high = answers_interval(ours, np.zeros_like(ours), np.arange(20) % 2, draws=8000)
    student = scipy_stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((student.low, student.high), abs=0.1 * (student.high - student.low))


def test_without_seeds_that_differ_the_interval_is_that_of_stratified_images() -> None:
    generator = np.random.default_rng(0)
    classes = np.repeat([0, 1], 200)
    right = generator.random(400) < np.where(classes == 0, 0.9, 0.5)
    ours, theirs = np.tile(right, (8, 1)), np.zeros((8, 400))
    low, high = answers_interval(ours, theirs, classes, draws=8000)
    error = math.sqrt(sum(right[classes == c].var() / 200 for c in (0, 1)) / 4)
    assert (low + high) / 2 == pytest.approx(right.mean(), abs=0.005)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_images_are_the_same_for_both_arms() -> None:
    generator = np.random.default_rng(0)
    right = generator.random((8, 100)) < 0.7
    assert answers_interval(right, right, np.arange(100) % 10) == (0, 0)
    x = [features(seed)[0] for seed in range(6)]
    assert features_interval(weighted_cdnv, x, x, features(0)[1], draws=50) == (0, 0)


def test_answers_cover_a_planted_difference() -> None:
    generator = np.random.default_rng(0)
    truth, covered = planted(), []
    for _ in range(200):
        easy, drift = generator.beta(4, 1, 150), generator.normal(0, 0.1, 150)
        ability = generator.normal(0, 0.02, (2, 8, 1))
        right = generator.random((2, 8, 150)) < np.clip(easy + ability + np.stack([drift, 0 * drift])[:, None], 0, 1)
        low, high = answers_interval(right[0], right[1], np.arange(150) % 3, draws=500)
        covered.append(low <= truth <= high)
    assert np.mean(covered) >= 0.94


def planted() -> float:
    """The difference over images and seeds without end, which clipping has made what it is."""
    generator = np.random.default_rng(1)
    easy, drift, ability = (
        generator.beta(4, 1, 10**6),
        generator.normal(0, 0.1, 10**6),
        generator.normal(0, 0.02, 10**6),
    )
    return float((np.clip(easy + ability + drift, 0, 1) - np.clip(easy + ability, 0, 1)).mean())


def test_a_difference_of_cdnv_lies_in_its_interval_which_holds_for_any_metric() -> None:
    ours, theirs = [features(s, spread=0.8)[0] for s in range(6)], [features(s)[0] for s in range(6, 12)]
    classes = features(0)[1]
    difference = np.mean([cdnv(a, classes) - cdnv(b, classes) for a, b in zip(ours, theirs, strict=True)])
    low, high = features_interval(weighted_cdnv, ours, theirs, classes, draws=400)
    assert low < difference < high < 0
    assert features_interval(repeating(cdnv), ours, theirs, classes, draws=400) == pytest.approx((low, high))
    turned = features_interval(weighted_cdnv, theirs, ours, classes, draws=400)
    assert turned[0] < -difference < turned[1]
    low, high = features_interval(repeating(silhouette), ours, theirs, classes, draws=20)
    assert 0 < low < high


def test_few_seeds_and_collapsed_runs_bound_nothing() -> None:
    x, classes = features(0)
    assert features_interval(weighted_cdnv, [x] * 5, [x] * 5, classes, draws=10) == UNBOUNDED
    assert features_interval(weighted_cdnv, [x] * 5 + [torch.ones_like(x)], [x] * 6, classes, draws=10) == UNBOUNDED
    assert answers_interval(np.ones((5, 9)), np.ones((5, 9)), np.zeros(9)) == UNBOUNDED
    assert gap_interval([1.0] * 5, [2.0] * 5, [3.0] * 5, paired=True) == UNBOUNDED


def test_shapes_that_do_not_fit_are_refused() -> None:
    x, classes = features(0)
    with pytest.raises(ValueError, match="same seeds"):
        features_interval(weighted_cdnv, [x] * 6, [x] * 5, classes)
    with pytest.raises(ValueError, match=r"\(S, N\)"):
        answers_interval(np.ones((6, 9)), np.ones((6, 8)), np.zeros(9))


def test_the_gap_is_bounded_around_its_share() -> None:
    generator = np.random.default_rng(0)
    floor = generator.normal(0.24, 0.01, 8)
    reached, ceiling = floor - 0.1 + generator.normal(0, 0.01, 8), floor - 0.15 + generator.normal(0, 0.01, 8)
    share = gap_closed(floor.tolist(), reached.tolist(), ceiling.tolist())
    low, high = gap_interval(floor.tolist(), reached.tolist(), ceiling.tolist(), paired=True)
    wide = gap_interval(floor.tolist(), reached.tolist(), ceiling.tolist(), paired=False)
    assert share is not None
    assert low < share < high
    assert wide[1] - wide[0] > high - low
    # A constant ceiling and floor leave the interval of a mean.
    flat = gap_interval([0.0] * 8, reached.tolist(), [1.0] * 8, paired=True, draws=8000)
    student = scipy_stats.ttest_1samp(reached, 0).confidence_interval(0.95)
    assert flat == pytest.approx((student.low, student.high), abs=0.1 * (student.high - student.low))


def test_a_gap_that_may_be_none_is_unbounded() -> None:
    noise = [-1.0, 1.0, -1.0, 1.0, -1.0, 1.5]
    assert gap_interval([0.0] * 6, [1.0] * 6, noise, paired=True) == UNBOUNDED


def test_a_comparison_names_its_ceiling_and_bounds_the_share() -> None:
    key = MetricKey("backbone", "crowding", "{}", "cdnv")
    generator = np.random.default_rng(0)
    values = {
        arm: {s: {key: level + generator.normal(0, 0.005)} for s in range(6)}
        for arm, level in (("byol", 0.3), ("byol+dsa", 0.2), ("supervised", 0.1))
    }
    (row,) = summarise(
        values, pairs=[("byol+dsa", "byol")], primary=key, directions={key: False}, supervised="supervised"
    )
    assert row.ceiling == "supervised"
    assert row.gap_closed == pytest.approx(0.5, abs=0.05)
    assert row.gap_low is not None
    assert row.gap_high is not None
    assert row.gap_low < 0.5 < row.gap_high
