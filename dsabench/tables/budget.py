"""What a budget of search buys: the best value to be expected after so many trials."""

from __future__ import annotations

from collections.abc import Sequence


def expected_best(values: Sequence[float], draws: int) -> float:
    """The expected maximum of `draws` values drawn with replacement from `values`.

    With v_1 <= ... <= v_N: sum_i v_i ((i / N)^draws - ((i - 1) / N)^draws) (Dodge et al. 2019, 1909.03004, section 3).
    Raises ValueError without values or draws.
    """
    if not values or draws < 1:
        raise ValueError(f"expected at least one value and one draw, got {len(values)} and {draws}")
    n = len(values)
    return sum(value * ((i / n) ** draws - ((i - 1) / n) ** draws) for i, value in enumerate(sorted(values), start=1))


def budgets(trials: int) -> list[int]:
    """1, 2, 4, ... trials, and all of them."""
    return [*(2**power for power in range(trials.bit_length()) if 2**power < trials), trials]
