"""What is called better, and what is not: guards, effects, failures, missing runs, several pairs, nothing at all."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dsabench.stats import Comparison, Guard, MetricKey, signed_rank_p, skewed, summarise

CDNV = MetricKey("backbone", "crowding", "{}", "cdnv")
KNN = MetricKey("backbone", "knn", '{"k":20}', "accuracy")
FEWSHOT = MetricKey("backbone", "fewshot", '{"classifier":"centroid","shots":5}', "accuracy")
DIRECTIONS = {CDNV: False, KNN: True, FEWSHOT: True}
GUARDS = (Guard("knn", KNN), Guard("fewshot", FEWSHOT))
PLAIN, DSA = "simclr", "simclr+dsa"

Arms = dict[str, dict[int, dict[MetricKey, float]]]


def arms(gains: dict[MetricKey, float], *, n: int = 8, noise: float = 0.001, seed: int = 0) -> Arms:
    """Two arms over n seeds: the second has what it gains, whichever direction is better, up to noise."""
    generator = np.random.default_rng(seed)
    level = {CDNV: 0.2, KNN: 0.95, FEWSHOT: 0.9}
    values: Arms = {PLAIN: {}, DSA: {}}
    for s in range(n):
        values[PLAIN][s] = {key: level[key] + generator.normal(0, 0.005) for key in DIRECTIONS}
        values[DSA][s] = {
            key: values[PLAIN][s][key] + gains.get(key, 0) * (1 if better else -1) + generator.normal(0, noise)
            for key, better in DIRECTIONS.items()
        }
    return values


def primary(values: Arms, **options: object) -> Comparison:
    asked = {"guards": GUARDS, **options}
    return summarise(values, pairs=[(DSA, PLAIN)], primary=CDNV, directions=DIRECTIONS, **asked)[0]  # type: ignore[arg-type]


def test_better_needs_the_primary_and_its_guards() -> None:
    row = primary(arms({CDNV: 0.05, KNN: 0.01}))
    assert row.verdict == "better"
    assert [(guard.name, guard.held) for guard in row.guards] == [("knn", True), ("fewshot", True)]
    assert row.guards[0].low == pytest.approx(0.01, abs=0.003)
    assert row.smallest_effect == 0.05


def test_a_model_without_seeds_is_compared_with_one_run_and_not_tested() -> None:
    values = arms({CDNV: 0.05})
    values["mine"] = {0: values[DSA][0]}
    pairs = [(DSA, PLAIN), ("mine", PLAIN)]
    rows = summarise(values, pairs=pairs, primary=CDNV, directions=DIRECTIONS, guards=GUARDS, seedless=["mine"])
    mine = [row for row in rows if row.spec == "mine"]
    assert {(row.verdict, row.n_pairs, row.missing, row.missing_against) for row in mine} == {("no seeds", 1, (), ())}
    assert mine[0].difference == values["mine"][0][CDNV] - values[PLAIN][0][CDNV]
    assert [row.shortfalls() for row in mine] == [[]] * len(mine)
    # The others are judged as they were without it.
    alone = summarise(values, pairs=pairs[:1], primary=CDNV, directions=DIRECTIONS, guards=GUARDS)
    assert [row for row in rows if row.spec == DSA] == alone


def test_a_gain_of_the_primary_with_a_loss_in_a_guard_is_tighter_not_better() -> None:
    row = primary(arms({CDNV: 0.05, FEWSHOT: -0.05}))
    assert row.verdict == "tighter, not better"
    assert [guard.held for guard in row.guards] == [True, False]
    assert row.guards[1].high == pytest.approx(-0.05, abs=0.003)


def test_a_guard_may_fall_by_less_than_its_margin_and_must_show_it() -> None:
    assert primary(arms({CDNV: 0.05, KNN: -0.005})).verdict == "better"
    assert primary(arms({CDNV: 0.05, KNN: -0.005}), guards=[Guard("knn", KNN, 0.002)]).verdict == "tighter, not better"
    # Nothing lost in the mean, but the seeds do not rule out that it was.
    assert primary(arms({CDNV: 0.05, FEWSHOT: 0.0}, noise=0.02)).verdict == "tighter, not better"


def test_a_guard_may_have_a_direction_of_its_own() -> None:
    rows = summarise(
        arms({KNN: 0.06, CDNV: -0.05}), pairs=[(DSA, PLAIN)], primary=KNN, directions=DIRECTIONS,
        guards=[Guard("cdnv", CDNV, 0.02)],
    )  # fmt: skip
    assert rows[0].verdict == "tighter, not better"
    assert rows[0].guards[0].low == pytest.approx(-0.05, abs=0.003)


def test_a_guard_that_was_not_measured_is_said() -> None:
    values = arms({CDNV: 0.05})
    assert primary(values, guards=[Guard("linear", None)]).verdict == "not better, a guard was not measured"
    for runs in values.values():
        for s in range(3):
            del runs[s][KNN]
    row = primary(values)
    assert (row.verdict, row.guards[0].held) == ("not better, a guard was not measured", None)


def test_an_effect_too_small_to_matter_is_said() -> None:
    values = arms({CDNV: 0.008, KNN: 0.01}, noise=0.0001)
    assert primary(values).verdict == "better by less than matters"
    assert primary(values, smallest_effect=0.03).verdict == "better"


def test_worse_needs_neither_guard_nor_effect() -> None:
    assert primary(arms({CDNV: -0.008}, noise=0.0001)).verdict == "worse"


def test_rounding_is_no_difference_and_prints_as_none() -> None:
    values = arms({}, noise=0)
    for row in values[DSA].values():
        row[CDNV] *= 1 + 1e-12
    row = primary(values)
    assert (row.difference, row.p, row.verdict) == (0, 1, "no difference")
    for run in values[DSA].values():
        run[CDNV] *= 1 + 1e-6
    assert primary(values, smallest_effect=0).verdict == "worse"


def test_an_arm_that_collapses_in_half_of_its_runs_is_never_better() -> None:
    for seed in range(20):
        for n, broken in ((12, math.nan), (12, math.inf), (8, math.nan)):
            values = arms({CDNV: 0.1, KNN: 0.03, FEWSHOT: 0.05}, n=n, seed=seed)
            for s in np.random.default_rng(seed).choice(n, n // 2, replace=False):
                values[DSA][int(s)][CDNV] = broken
            rows = summarise(values, pairs=[(DSA, PLAIN)], primary=CDNV, directions=DIRECTIONS, guards=GUARDS)
            # kNN of a collapsed run may be a number: its gain is not called one either.
            assert not {row.verdict for row in rows} & {"better", "tighter, not better", "better by less than matters"}
            assert rows[0].shortfalls() == [f"{DSA}: {n // 2} of {n} runs failed"]


def test_failed_runs_enter_as_the_worst_ranks() -> None:
    values = arms({CDNV: 0.05, KNN: 0.01}, n=10)
    del values[DSA][3]
    row = primary(values, failures={DSA: [3]})
    finished = [values[DSA][s][CDNV] - values[PLAIN][s][CDNV] for s in range(10) if s != 3]
    assert (row.test, row.n_seeds, row.n_pairs, row.n_failed) == ("signed-rank", 9, 10, 1)
    assert row.p == signed_rank_p([math.inf, *finished])
    assert row.difference == pytest.approx(np.mean(finished))


def test_one_failure_among_many_seeds_is_still_no_better_than_none() -> None:
    values = arms({CDNV: 0.05, KNN: 0.01}, n=16)
    values[DSA][3][CDNV] = math.nan
    row = primary(values)
    assert row.p < 0.05
    assert row.verdict == "not better, fails more often"
    values[PLAIN][5][CDNV] = math.nan
    assert primary(values).verdict == "better"


def test_a_baseline_that_fails_where_the_arm_does_not_counts_for_the_arm() -> None:
    values = arms({CDNV: 0.05, KNN: 0.01}, n=8)
    row = primary(
        {DSA: values[DSA], PLAIN: {s: run for s, run in values[PLAIN].items() if s > 1}}, failures={PLAIN: [0, 1]}
    )
    assert (row.p, row.n_seeds, row.n_failed_against, row.verdict) == (1 / 128, 6, 2, "better")
    assert row.shortfalls() == [f"{PLAIN}: 2 of 8 runs failed"]


def test_an_arm_that_always_fails_is_worse() -> None:
    row = primary({PLAIN: arms({})[PLAIN]}, failures={DSA: range(8)})
    assert (row.p, row.n_seeds, row.verdict) == (1 / 128, 0, "worse")
    assert math.isnan(row.difference)
    assert (row.low, row.high) == (math.inf, math.inf)


def test_missing_seeds_are_named_and_no_verdict_rests_on_them() -> None:
    values = arms({CDNV: 0.05, KNN: 0.01}, n=9)
    del values[DSA][2], values[DSA][4]
    row = primary(values)
    assert (row.missing, row.missing_against, row.n_pairs) == ((2, 4), (), 7)
    assert row.shortfalls() == [f"{DSA}: seeds 2, 4 missing"]
    assert (row.verdict, row.p > 0.05, row.high) == ("undecided, runs are missing", True, math.inf)
    assert primary(values, seeds=[s for s in range(9) if s not in (2, 4)]).verdict == "better"
    # One of 14 changes nothing, whatever it would have given.
    values = arms({CDNV: 0.05, KNN: 0.01}, n=14)
    del values[PLAIN][0]
    row = primary(values)
    assert (row.verdict, row.shortfalls()) == ("better", [f"{PLAIN}: seed 0 missing"])
    # A run of the arm might have failed, and then it would fail more often.
    values[PLAIN][0], _ = values[DSA][0], values[DSA].pop(0)
    row = primary(values)
    assert (row.p < 0.05, row.verdict) == (True, "undecided, runs are missing")


def test_seeds_that_were_asked_for_and_never_run_are_missing_from_both() -> None:
    row = primary(arms({CDNV: 0.05}, n=6), seeds=range(8))
    assert (row.missing, row.missing_against, row.verdict) == ((6, 7), (6, 7), "undecided, runs are missing")


def test_several_pairs_against_one_baseline_are_one_family() -> None:
    values = arms({CDNV: 0.05, KNN: 0.01}, n=7)
    others = {f"arm{i}": values[DSA] for i in range(3)}
    pairs = [(name, PLAIN) for name in others]
    rows = summarise({**values, **others}, pairs=[*pairs, ("arm0", "arm1")], primary=CDNV, directions=DIRECTIONS)
    found = {(row.spec, row.against): row for row in rows if row.role == "primary"}
    assert {found[pair].p for pair in pairs} == {1 / 64}
    assert {found[pair].p_pairs for pair in pairs} == {3 / 64}
    assert {found[pair].verdict for pair in pairs} == {"better"}
    assert found["arm0", "arm1"].p_pairs == 1
    rows = summarise({**values, **others}, pairs=[*pairs, (DSA, PLAIN)], primary=CDNV, directions=DIRECTIONS)
    assert {(row.p_pairs, row.can_reach_05, row.verdict) for row in rows if row.role == "primary"} == {
        (4 / 64, False, "too few")
    }


def test_what_is_outside_the_family_is_described_and_moves_no_p() -> None:
    values = arms({CDNV: 0.05, KNN: 0.01, FEWSHOT: 0.03})
    whole, without = (
        {
            row.key: row
            for row in summarise(values, pairs=[(DSA, PLAIN)], primary=CDNV, directions=DIRECTIONS, family=kept)
        }
        for kept in (None, {KNN})
    )
    assert (whole[KNN].p_holm, without[KNN].p_holm) == (2 / 128, 1 / 128)
    assert (without[FEWSHOT].role, without[FEWSHOT].p_holm, without[FEWSHOT].verdict) == ("descriptive", None, "")
    assert without[FEWSHOT].p == whole[FEWSHOT].p


def test_planted_nulls_are_rarely_called_better() -> None:
    generator = np.random.default_rng(0)
    called = 0
    for _ in range(1000):
        values: Arms = {
            arm: {s: {CDNV: generator.normal(1, 0.2), KNN: 0.9, FEWSHOT: 0.9} for s in range(8)} for arm in (PLAIN, DSA)
        }
        called += primary(values).verdict == "better"
    assert 0 < called <= 60


def test_leaning_differences_are_marked() -> None:
    assert skewed([-0.1, -0.1, -0.12, -0.09, -0.11, 0.9])
    assert not skewed([-0.1, 0.1, -0.12, 0.09, -0.11, 0.1])
    assert not skewed([1.0, 1.0, 1.0])
    assert not skewed([1.0, 2.0])
    generator = np.random.default_rng(1)
    rates = [
        np.mean([skewed(draw(8).tolist()) for _ in range(1000)])
        for draw in (generator.standard_normal, generator.standard_exponential)
    ]
    assert rates[0] == pytest.approx(0.05, abs=0.02)
    assert rates[1] > 0.25
    values = arms({CDNV: 0.05})
    values[DSA][0][CDNV] += 1
    assert primary(values).skewed
