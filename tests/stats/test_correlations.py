"""Rank correlations over and within specs, against SciPy and cases that are known."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from dsabench.stats.correlations import over_specs, within_specs


def test_over_specs_it_is_spearmans() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        x = draw.integers(0, 8, 30).astype(float)
        y = x + draw.integers(0, 8, 30)
        found = over_specs(x, y, [f"m{i % 6}" for i in range(30)])
        assert found.rho == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
        assert found.low <= found.rho <= found.high
        assert (found.n, found.groups) == (30, 6)


def test_what_specs_differ_by_is_no_correlation_within_them() -> None:
    draw = np.random.default_rng(1)
    specs = [f"m{i // 10}" for i in range(80)]
    level = np.repeat(np.arange(8.0) * 100, 10)
    # Between specs both rise together; within one spec one falls where the other rises.
    inside = draw.normal(size=80)
    x, y = level + inside, level - inside
    assert over_specs(x, y, specs).rho > 0.95
    assert within_specs(x, y, specs).rho == pytest.approx(-1)
    # Noise within: its interval holds 0.
    noise = within_specs(level + draw.normal(size=80), level + draw.normal(size=80), specs)
    assert noise.low < 0 < noise.high


def test_one_spec_within_is_spearmans_and_small_ones_are_left_out() -> None:
    draw = np.random.default_rng(2)
    x, y = draw.normal(size=(2, 12))
    specs = ["a"] * 10 + ["b"] * 2
    found = within_specs(x, y, specs)
    assert found.rho == pytest.approx(spearmanr(x[:10], y[:10]).statistic)
    assert (found.n, found.groups) == (10, 1)
    assert math.isnan(within_specs(x[10:], y[10:], specs[10:]).rho)


def test_what_is_undefined_is_left_out_and_infinity_ranks_last() -> None:
    x, y = [1.0, 2.0, math.inf, math.nan, 3.0], [4.0, 3.0, 1.0, 9.0, 2.0]
    assert over_specs(x, y, ["a", "b", "c", "d", "e"]).rho == pytest.approx(-1)
    with pytest.raises(ValueError, match="one value a run"):
        over_specs(x, y[:3], ["a"] * 5)
    assert math.isnan(over_specs([1.0, 1.0], [1.0, 2.0], ["a", "b"]).rho)
