"""Signed ranks against SciPy and brute force, with failures as infinite differences."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from dsabench.stats import signed_rank_interval, signed_rank_p, smallest_p
from dsabench.stats.signed_rank import lean

DIFFERENCES = st.lists(
    st.one_of(st.sampled_from([-math.inf, math.inf]), st.integers(-3, 3).map(float), st.floats(-9, 9)),
    min_size=1,
    max_size=8,
)


def normal(n: int, mean: float = 0.4) -> list[float]:
    return np.random.default_rng(n).normal(mean, 1, n).tolist()


@pytest.mark.parametrize("n", [2, 6, 9, 14])
def test_p_is_wilcoxons_exact_one_where_nothing_is_tied(n: int) -> None:
    assert signed_rank_p(normal(n)) == pytest.approx(scipy_stats.wilcoxon(normal(n), method="exact").pvalue)
    assert signed_rank_p([1.0 + i for i in range(n)]) == smallest_p(n)


@settings(deadline=None)
@given(DIFFERENCES)
def test_p_counts_every_flip_of_the_ranks(differences: list[float]) -> None:
    ranks = scipy_stats.rankdata(np.abs(differences)) * np.sign(differences)
    flips = [abs(sum(s * r for s, r in zip(signs, ranks, strict=True)))
             for signs in itertools.product([1, -1], repeat=len(ranks))]  # fmt: skip
    assert signed_rank_p(differences) == pytest.approx(np.mean(np.array(flips) >= abs(ranks.sum()) - 1e-9))


def test_a_failure_is_worse_than_any_number_and_is_no_number() -> None:
    small, large = [-0.1, 1, 2, 3, 4, 5, 6, 7], [-1e9, 1, 2, 3, 4, 5, 6, 7]
    assert signed_rank_p([-math.inf, 1, 2, 3, 4, 5, 6, 7]) == signed_rank_p(large) > signed_rank_p(small)
    assert signed_rank_p([math.inf, -math.inf, 0]) == 1
    assert signed_rank_p([math.inf] * 6) == smallest_p(6)


@settings(deadline=None)
@given(DIFFERENCES, st.floats(0.1, 50))
def test_the_rank_sum_grows_with_every_difference(differences: list[float], step: float) -> None:
    for place in range(len(differences)):
        raised = [d + step * (i == place) for i, d in enumerate(differences)]
        assert lean(raised) >= lean(differences)


@pytest.mark.parametrize("failed", [[], [-math.inf], [math.inf, -math.inf], [math.inf, math.inf]])
def test_interval_inverts_the_test_on_a_grid(failed: list[float]) -> None:
    differences = normal(9) + failed
    low, high = signed_rank_interval(differences)
    for shift in np.linspace(-4, 4, 801):
        assert (signed_rank_p([d - shift for d in differences]) >= 0.05) == (low <= shift <= high)


def test_interval_is_hodges_and_lehmanns_order_statistic() -> None:
    differences = normal(8)
    walsh = sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(differences, 2))
    # For 8 pairs the two-sided critical value of Wilcoxon's table at .05 is 3.
    assert signed_rank_interval(differences) == pytest.approx((walsh[3], walsh[-4]))


def test_failures_leave_an_end_open() -> None:
    assert signed_rank_interval(normal(5)) == (-math.inf, math.inf)
    low, high = signed_rank_interval([-math.inf, -math.inf, *normal(6)])
    assert (low, math.isfinite(high)) == (-math.inf, True)
    assert signed_rank_interval([math.inf] * 6) == (math.inf, math.inf)


@pytest.mark.parametrize("wrong", [[], [math.nan]])
def test_nothing_and_nan_are_refused(wrong: list[float]) -> None:
    for function in (signed_rank_p, signed_rank_interval):
        with pytest.raises(ValueError, match="numbers"):
            function(wrong)
