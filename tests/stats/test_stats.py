"""Sign flips against SciPy and a brute-force inversion, Holm by hand, and every branch of a verdict."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from dsabench.errors import UsageError
from dsabench.stats import (
    Comparison,
    MetricKey,
    gap_closed,
    holm,
    mcnemar,
    sign_flip_interval,
    sign_flip_p,
    smallest_p,
    summarise,
    t_interval,
)

CDNV = MetricKey("backbone", "crowding", "{}", "cdnv")
KNN = MetricKey("backbone", "knn", '{"k":20}', "accuracy")
RANKME = MetricKey("backbone", "crowding", "{}", "rankme")
DIRECTIONS = {CDNV: False, KNN: True, RANKME: None}


def normal(n: int, seed: int = 0, mean: float = 0.4) -> list[float]:
    return np.random.default_rng(seed).normal(mean, 1, n).tolist()


@pytest.mark.parametrize("n", [2, 5, 6, 9, 12])
def test_p_is_scipys_exact_permutation_test(n: int) -> None:
    differences = normal(n)
    reference = scipy_stats.permutation_test(
        (np.array(differences),), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(differences) == pytest.approx(reference.pvalue, abs=1e-12)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_p_counts_ties_exactly_whatever_the_rounding(steps: list[int]) -> None:
    flips = [
        abs(sum(s * d for s, d in zip(signs, steps, strict=True)))
        for signs in itertools.product([1, -1], repeat=len(steps))
    ]
    expected = sum(flip >= abs(sum(steps)) for flip in flips) / len(flips)
    for unit in (1.0, 0.1, 1e-9, 0.7e12):
        assert sign_flip_p([unit * step for step in steps]) == expected


def test_p_at_its_edges() -> None:
    assert sign_flip_p([0.0] * 8) == 1
    assert sign_flip_p([3.0]) == 1
    assert sign_flip_p([1.0] * 20) == 2**-19 == smallest_p(20)
    assert sign_flip_p([1.0] * 6) == smallest_p(6) == 0.03125


def test_beyond_twenty_seeds_sampled_flips_agree_with_the_normal_limit_and_repeat() -> None:
    differences = normal(40, mean=0.2)
    p = sign_flip_p(differences)
    z = abs(sum(differences)) / math.sqrt(sum(d * d for d in differences))
    assert p == pytest.approx(2 * scipy_stats.norm.sf(z), rel=0.05)
    assert p == sign_flip_p(differences)
    assert smallest_p(21) <= sign_flip_p([1.0] * 21) < 1e-5


@pytest.mark.parametrize("n", [6, 8, 11])
def test_interval_inverts_the_test_on_a_grid(n: int) -> None:
    differences = normal(n, seed=n)
    low, high = sign_flip_interval(differences)
    for theta in np.linspace(low - 1, high + 1, 401):
        kept = sign_flip_p([d - theta for d in differences]) >= 0.05
        assert kept == (low <= theta <= high)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_interval_ends_are_where_p_crosses(level: float) -> None:
    differences = normal(9)
    for end, outwards in zip(sign_flip_interval(differences, level), (-1e-6, 1e-6), strict=True):
        assert sign_flip_p([d - end for d in differences]) >= round(1 - level, 12)
        assert sign_flip_p([d - end - outwards for d in differences]) < round(1 - level, 12)


VALUES = st.one_of(st.integers(-5, 5).map(lambda i: i / 10), st.floats(-10, 10, allow_subnormal=False))


@settings(max_examples=300, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=10), st.floats(-0.6, 0.6))
def test_zero_lies_outside_the_interval_exactly_when_p_is_small(differences: list[float], shift: float) -> None:
    differences = [d + shift for d in differences]
    low, high = sign_flip_interval(differences)
    assert (low <= 0 <= high) == (sign_flip_p(differences) >= 0.05)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_so_it_does_for_sampled_flips(seed: int) -> None:
    differences = normal(21, seed)
    low, high = sign_flip_interval(differences)
    assert low < np.mean(differences) < high
    assert (low <= 0 <= high) == (sign_flip_p(differences) >= 0.05)


def test_interval_moves_with_shift_and_scale_and_turns_with_sign() -> None:
    differences = normal(8)
    low, high = sign_flip_interval(differences)
    assert sign_flip_interval([3 * d + 2 for d in differences]) == pytest.approx((3 * low + 2, 3 * high + 2))
    assert sign_flip_interval([-d for d in differences]) == pytest.approx((-high, -low))


def test_five_seeds_bound_nothing_and_six_span_the_seeds() -> None:
    assert sign_flip_interval(normal(5)) == (-math.inf, math.inf)
    assert sign_flip_interval(normal(6)) == pytest.approx((min(normal(6)), max(normal(6))))


@pytest.mark.parametrize("function", [sign_flip_p, sign_flip_interval])
@pytest.mark.parametrize("wrong", [[], [1.0, math.nan], [math.inf]])
def test_no_or_broken_differences_are_refused(function: type, wrong: list[float]) -> None:
    with pytest.raises(ValueError, match=r"finite|seed"):
        function(wrong)


def test_a_level_outside_zero_and_one_is_refused() -> None:
    with pytest.raises(ValueError, match="level"):
        sign_flip_interval([1.0, 2.0], 95)


def test_t_interval_is_scipys() -> None:
    reference = scipy_stats.ttest_1samp(normal(7), 0).confidence_interval(0.9)
    assert t_interval(normal(7), 0.9) == pytest.approx((reference.low, reference.high))
    assert t_interval([2.0]) == (-math.inf, math.inf)
    assert t_interval([2.0, 2.0]) == (2, 2)


def test_holm_by_hand() -> None:
    # Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04; the last is raised to .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


def test_the_table_of_how_many_seeds_a_family_needs() -> None:
    needed = {size: next(n for n in range(1, 30) if smallest_p(n) * size < 0.05) for size in (1, 4, 15)}
    assert needed == {1: 6, 4: 8, 15: 10}
    assert [smallest_p(n) for n in (1, 5, 6)] == [1, 1 / 16, 1 / 32]
    with pytest.raises(ValueError, match="at least one seed"):
        smallest_p(0)


def test_mcnemar_is_a_binomial_of_the_disagreements() -> None:
    a, b = [True] * 9 + [False] * 1 + [True] * 50, [False] * 9 + [True] * 1 + [True] * 50
    assert mcnemar(a, b) == mcnemar(b, a) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(a, a) == 1
    with pytest.raises(ValueError, match="same images"):
        mcnemar(a, b[:-1])


def test_gap_closed_is_a_share_of_the_way_in_either_direction() -> None:
    assert gap_closed([0.7, 0.9], [0.85], [0.9, 0.9]) == pytest.approx(0.5)
    assert gap_closed([0.4], [0.3], [0.2]) == pytest.approx(0.5)
    assert gap_closed([0.3], [0.5], [0.1 + 0.2]) is None


Seeds = dict[int, dict[MetricKey, float]]


def arms(n: int, effects: dict[MetricKey, float], spread: float = 0.01) -> dict[str, Seeds]:
    """`plain` and `plain+dsa` over n seeds whose differences are `effects`, up to a spread that keeps their sign."""
    generator = np.random.default_rng(0)
    base = {seed: {key: generator.uniform() for key in effects} for seed in range(n)}
    moved = {
        seed: {key: value + effects[key] * generator.uniform(1 - spread, 1 + spread) for key, value in row.items()}
        for seed, row in base.items()
    }
    return {"plain": base, "plain+dsa": moved}


def compare(values: dict[str, Seeds], **options: str) -> dict[MetricKey, Comparison]:
    rows = summarise(values, pairs=[("plain+dsa", "plain")], primary=CDNV, directions=DIRECTIONS, **options)
    return {row.key: row for row in rows}


def test_a_row_holds_its_arms_and_their_paired_difference() -> None:
    values = arms(6, {CDNV: -0.2, KNN: 0.1}, spread=0.9)
    row = compare(values)[CDNV]
    ours, theirs = (np.array([values[arm][seed][CDNV] for seed in range(6)]) for arm in ("plain+dsa", "plain"))
    differences = (ours - theirs).tolist()
    assert (row.mean, row.std) == pytest.approx((ours.mean(), ours.std(ddof=1)))
    assert (row.mean_against, row.std_against) == pytest.approx((theirs.mean(), theirs.std(ddof=1)))
    assert row.difference == pytest.approx(np.mean(differences))
    assert (row.low, row.high) == sign_flip_interval(differences)
    assert (row.t_low, row.t_high) == t_interval(differences)
    assert (row.spec, row.against, row.n_seeds, row.gap_closed) == ("plain+dsa", "plain", 6, None)
    assert (row.p, row.p_holm) == (sign_flip_p(differences), None)


@pytest.mark.parametrize(("effect", "verdict"), [(-0.1, "better"), (0.1, "worse"), (0.0, "no difference")])
def test_the_primary_metric_is_judged_by_its_own_p(effect: float, verdict: str) -> None:
    row = compare(arms(6, {KNN: 1, CDNV: effect}))[CDNV]
    assert (row.role, row.can_reach_05, row.verdict) == ("primary", True, verdict)


def test_five_seeds_are_insufficient_evidence() -> None:
    for row in compare(arms(5, {CDNV: -1, KNN: 1})).values():
        assert (row.verdict, row.can_reach_05, row.low) == ("too few", False, -math.inf)


def test_secondary_metrics_are_one_holm_family_and_descriptive_ones_are_outside() -> None:
    extra = {MetricKey("backbone", f"probe{i}", "{}", "accuracy"): 0.1 for i in range(3)}
    values = arms(8, {RANKME: 5, KNN: 1, **extra, CDNV: -1})
    directions = {**DIRECTIONS, **dict.fromkeys(extra, True)}
    rows = summarise(values, pairs=[("plain+dsa", "plain")], primary=CDNV, directions=directions)
    assert [row.key for row in rows] == [CDNV, RANKME, KNN, *extra]
    assert [row.role for row in rows] == ["primary", "descriptive", *["secondary"] * 4]
    assert [row.p_holm for row in rows] == [None, None, *[4 / 128] * 4]
    assert [row.verdict for row in rows] == ["better", "", *["better"] * 4]


def test_a_family_too_large_for_its_seeds_says_so() -> None:
    extra = MetricKey("backbone", "linear", "{}", "accuracy")
    directions = {**DIRECTIONS, extra: True}
    rows = summarise(
        arms(6, {CDNV: -1, KNN: 1, extra: 1}), pairs=[("plain+dsa", "plain")], primary=CDNV, directions=directions
    )
    assert [row.verdict for row in rows] == ["better", *["too few"] * 2]
    assert [row.can_reach_05 for row in rows] == [True, False, False]


def test_a_small_family_that_shows_nothing_says_that() -> None:
    values = arms(6, {CDNV: -1, KNN: 0})
    for seed, row in values["plain"].items():
        row[KNN] += 0.01 * (-1) ** seed
    row = compare(values)[KNN]
    assert (row.p_holm, row.can_reach_05, row.verdict) == (1, True, "not shown")


def test_seeds_are_those_with_a_finite_value_in_both_arms() -> None:
    values = arms(9, {CDNV: -1, KNN: 1})
    values["plain"][0][CDNV] = math.nan
    values["plain+dsa"][1][CDNV] = math.inf
    del values["plain+dsa"][2]
    rows = compare(values)
    assert (rows[CDNV].n_seeds, rows[KNN].n_seeds) == (6, 8)
    assert rows[CDNV].mean == pytest.approx(np.mean([values["plain+dsa"][seed][CDNV] for seed in range(3, 9)]))


def test_one_seed_is_shown_and_not_judged_and_none_gives_no_row() -> None:
    values = arms(1, {CDNV: -1, KNN: 1})
    rows = compare(values)
    assert all((row.p, row.low, row.t_high, row.std) == (1, -math.inf, math.inf, None) for row in rows.values())
    assert rows[KNN].p_holm is None
    values["plain"] = {5: values["plain"][0]}
    assert compare(values) == {}


def test_a_metric_of_one_seed_does_not_burden_the_family() -> None:
    values = arms(6, {CDNV: -1, KNN: 1})
    extra = MetricKey("backbone", "linear", "{}", "accuracy")
    for arm in values.values():
        arm[0][extra] = 1.0
    rows = summarise(values, pairs=[("plain+dsa", "plain")], primary=CDNV, directions={**DIRECTIONS, extra: True})
    assert [(row.p_holm, row.verdict) for row in rows[1:]] == [(1 / 32, "better"), (None, "too few")]


def test_gap_closed_needs_a_third_arm_and_one_base_method() -> None:
    values = arms(6, {CDNV: -0.5, RANKME: 1.0}, spread=0)
    values["supervised"] = {seed: {key: v - 1 for key, v in row.items()} for seed, row in values["plain"].items()}
    values["byol[tau=1e+3]"], values["byol[tau=1e+3]+dsa[x=1e+1]"] = values["plain"], values["plain+dsa"]
    values["byol[tau=1e+4]"] = values["plain"]
    pairs = {
        ("plain+dsa", "plain"): 0.5,
        ("byol[tau=1e+3]+dsa[x=1e+1]", "byol[tau=1e+3]"): 0.5,
        ("byol[tau=1e+3]+dsa[x=1e+1]", "byol[tau=1e+4]"): None,
        ("plain+dsa", "byol[tau=1e+4]"): None,
        ("supervised", "plain"): None,
    }
    rows = summarise(values, pairs=list(pairs), primary=CDNV, directions=DIRECTIONS, supervised="supervised")
    assert [row.gap_closed for row in rows if row.key == CDNV] == [
        None if share is None else pytest.approx(share) for share in pairs.values()
    ]
    assert {row.gap_closed for row in rows if row.key == RANKME} == {None}
    assert compare(values, supervised="plain")[CDNV].gap_closed is None


def test_a_primary_metric_without_a_direction_is_refused() -> None:
    with pytest.raises(UsageError, match=r"rankme.*no better direction"):
        summarise(arms(6, {RANKME: 1}), pairs=[("plain+dsa", "plain")], primary=RANKME, directions=DIRECTIONS)
