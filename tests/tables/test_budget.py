"""What a budget of search buys, against every possible draw and against drawing."""

from itertools import product
from statistics import fmean

import numpy as np
import pytest

from dsabench.tables.budget import budgets, expected_best

VALUES = [0.7, 0.2, 0.9, 0.2, 0.55]


@pytest.mark.parametrize("draws", [1, 2, 3, 4])
def test_it_is_the_mean_of_the_maximum_over_all_equally_likely_draws(draws: int) -> None:
    literal = fmean(max(drawn) for drawn in product(VALUES, repeat=draws))
    assert expected_best(VALUES, draws) == pytest.approx(literal, abs=1e-12)


def test_it_is_what_drawing_gives() -> None:
    values = np.random.default_rng(0).beta(5, 2, size=16)
    drawn = np.random.default_rng(1).choice(values, size=(200_000, 8)).max(axis=1)
    assert expected_best(list(values), 8) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 200_000**0.5)


def test_one_draw_is_the_mean_and_many_approach_the_best() -> None:
    assert expected_best(VALUES, 1) == pytest.approx(fmean(VALUES))
    curve = [expected_best(VALUES, draws) for draws in (1, 2, 4, 8, 1000)]
    assert curve == sorted(curve)
    assert curve[-1] == pytest.approx(max(VALUES))
    assert expected_best(VALUES[::-1], 3) == expected_best(VALUES, 3)


@pytest.mark.parametrize(("values", "draws"), [([], 1), ([0.5], 0)])
def test_nothing_drawn_has_no_best(values: list[float], draws: int) -> None:
    with pytest.raises(ValueError, match="at least one value and one draw"):
        expected_best(values, draws)


@pytest.mark.parametrize(("trials", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])])
def test_budgets_double_up_to_all_trials(trials: int, expected: list[int]) -> None:
    assert budgets(trials) == expected
