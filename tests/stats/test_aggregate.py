"""One number over several data sets: against the formulas of arXiv 2108.13264 written out, and numbers by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats as scipy_stats

from dsabench.stats.aggregate import (
    Record,
    improvement,
    improvement_estimate,
    interquartile_estimate,
    interquartile_mean,
    paired_improvement,
    record,
)


def literal_iqm(runs: Sequence[Sequence[float]]) -> float:
    """Equation of section 4.3: the mean of what is left when a quarter of all runs is dropped at either end."""
    ordered = sorted(value for one in runs for value in one)
    cut = len(ordered) // 4
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


def literal_improvement(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """P(X > Y) of section 4.3: S(x, y) is 1, 1/2 or 0 for x > y, x = y, x < y, averaged over all pairs and tasks."""
    shares = []
    for mine, other in zip(ours, theirs, strict=True):
        points = [1.0 if x > y else 0.5 if x == y else 0.0 for x in mine for y in other]
        shares.append(sum(points) / len(points))
    return sum(shares) / len(shares)


def drawn(seed: int, *sizes: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    # Rounded, so that there are ties.
    return [generator.normal(0.5, 0.1, size).round(2) for size in sizes]


def test_the_interquartile_mean_by_hand() -> None:
    # Of eight values two are cut at either end: (3 + 4 + 5 + 6) / 4.
    assert interquartile_mean([np.array([1.0, 3, 5, 700]), np.array([-9.0, 4, 6, 8])]) == 4.5
    # Of six, one: (2 + 3 + 4 + 5) / 4.
    assert interquartile_mean([np.array([6.0, 2, 3]), np.array([5.0, 4, 1])]) == 3.5


def test_the_probability_of_improvement_by_hand() -> None:
    # 2 of 4 pairs ahead and one tied in the first data set, all in the second: (2.5 / 4 + 1) / 2.
    ours, theirs = [np.array([1.0, 3.0]), np.array([9.0])], [np.array([1.0, 2.0]), np.array([8.0, 7.0])]
    assert improvement(ours, theirs) == (2.5 / 4 + 1) / 2
    assert improvement(theirs, ours) == 1 - improvement(ours, theirs)
    assert improvement(ours, ours) == 0.5
    with pytest.raises(ValueError, match="argument 2"):
        improvement(ours, theirs[:1])


@pytest.mark.parametrize("seed", range(4))
def test_both_are_the_published_formulas(seed: int) -> None:
    ours, theirs = drawn(seed, 5, 8, 3), drawn(seed + 10, 5, 8, 3)
    assert interquartile_mean(ours) == pytest.approx(literal_iqm([one.tolist() for one in ours]), rel=1e-14)
    expected = literal_improvement([one.tolist() for one in ours], [one.tolist() for one in theirs])
    assert improvement(ours, theirs) == pytest.approx(expected, rel=1e-14)
    ranks = [scipy_stats.mannwhitneyu(a, b)[0] / (len(a) * len(b)) for a, b in zip(ours, theirs, strict=True)]
    assert improvement(ours, theirs) == pytest.approx(np.mean(ranks), rel=1e-14)


def test_ties_are_ties_and_rounding_is_one() -> None:
    ours = [np.array([0.3, 0.5, 0.7]), np.array([0.1 + 0.2])]
    theirs = [np.array([0.2, 0.5, 0.8]), np.array([0.3])]
    assert record(ours, theirs) == Record(ahead=1, level=2, behind=1)
    assert record(theirs, ours) == Record(ahead=1, level=2, behind=1)


def test_intervals_are_those_of_a_stratified_bootstrap_written_out() -> None:
    runs = drawn(0, 6, 6)
    generator, drawn_iqm = np.random.default_rng(1), []
    for _ in range(4000):
        drawn_iqm.append(literal_iqm([generator.choice(one, len(one)).tolist() for one in runs]))
    found = interquartile_estimate(runs, draws=4000)
    width = found.high - found.low
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn_iqm, [0.025, 0.975]), abs=0.06 * width)
    assert found == interquartile_estimate(runs, draws=4000)


def test_paired_seeds_are_compared_and_drawn_together() -> None:
    # A seed is good or bad for both arms: 4 of 6 seeds gain, one ties; in the second data set 3 of 6.
    ours = drawn(0, 6, 6)
    gains = np.array([0.01, 0.02, 0.01, 0.03, 0, -0.01]), np.array([0.01, 0.02, 0.01, -0.03, -0.01, -0.01])
    theirs = [one - gain for one, gain in zip(ours, gains, strict=True)]
    together = improvement_estimate(ours, theirs, paired=True, draws=8000)
    assert together.value == paired_improvement(ours, theirs) == pytest.approx((4.5 / 6 + 3 / 6) / 2)
    generator = np.random.default_rng(1)
    points = [np.sign(gain) / 2 + 0.5 for gain in gains]
    plain = [np.mean([generator.choice(one, 6).mean() for one in points]) for _ in range(8000)]
    assert (together.low, together.high) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.05)
    assert paired_improvement(theirs, ours) == pytest.approx(1 - together.value)
    apart = improvement_estimate(ours, theirs, paired=False)
    assert apart.value == improvement(ours, theirs)
    assert apart.low < apart.value < apart.high
    surely = improvement_estimate([one + 9 for one in ours], theirs, paired=True)
    assert (surely.value, surely.low, surely.high) == (1, 1, 1)


def test_single_runs_bound_nothing() -> None:
    one = [np.array([0.5]), np.array([0.1, 0.2])]
    assert interquartile_estimate(one).low == -math.inf
    assert improvement_estimate(one, one, paired=True).high == math.inf
