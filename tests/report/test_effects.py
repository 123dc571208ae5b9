import math
from dataclasses import replace

import pytest
from arms import FAMILY, HELD, PAIR, PRIMARY, SECOND, compared, failed, rows_of

from dsabench.report import finding, paired_tables
from dsabench.report.effects import Gap, effects
from dsabench.report.table import Difference, PValue, Verdict
from dsabench.report.wording import written
from dsabench.stats import Comparison, GuardCheck, smallest_p
from dsabench.tables.comparisons import compare_rows
from dsabench.tables.criteria import GUARDS, Criteria, parse_guard, parse_primary

CRITERIA = Criteria(parse_primary("cdnv"), tuple(map(parse_guard, GUARDS)))


@pytest.mark.parametrize(
    ("means", "difference", "expected"),
    [
        ((0.168, 0.168), 2e-15, "0"),
        ((0.168, 0.168), -2e-15, "0"),
        ((3e6, 3e6), 2e-3, "0"),
        ((3e-8, 3e-8), 9e-13, "0"),
        ((3e-4, 3e-4), 9e-10, "+9e-10"),
        ((0.168, 0.168), 2e-9, "+2e-09"),
        ((math.nan, math.inf), 0.25, "+.250"),
    ],
)
def test_a_difference_at_the_size_of_rounding_is_none(
    means: tuple[float, float], difference: float, expected: str
) -> None:
    comparison = replace(
        PRIMARY, mean_against=means[0], mean=means[1], difference=difference, low=-abs(difference), high=0.5,
        t_low=difference, t_high=math.inf,
    )  # fmt: skip
    (told,) = effects([comparison])
    assert written(told.difference) == expected
    assert (written(told.interval).partition(" to ")[0] == "0") == (expected == "0")
    assert written(told.student).partition(" to ")[0] == expected
    assert told.interval.high == 0.5


@pytest.mark.parametrize(
    ("n_seeds", "family", "enough"), [(6, 15, 10), (6, 11, 9), (3, 1, 6), (5, 2, 7), (20, 30_000, None)]
)
def test_so_many_seeds_would_do(n_seeds: int, family: int, enough: int | None) -> None:
    few = replace(PRIMARY, n_pairs=n_seeds, can_reach_05=False)
    pair = [few, *(replace(few, role="secondary") for _ in range(family))]
    assert {one.would_do for one in effects(pair) if one.role == "secondary"} == {enough}
    if enough:
        assert smallest_p(enough) * family < 0.05 <= smallest_p(enough - 1) * family


def notes_of(*comparisons: Comparison) -> list[str]:
    return [note for table in paired_tables(comparisons) for note in table.notes]


@pytest.mark.parametrize("n_pairs", [3, 7])
def test_too_few_seeds_are_told_with_how_many_would_do(n_pairs: int) -> None:
    # Of six metrics seven seeds show nothing, of one they do.
    pair = [
        replace(one, n_seeds=n_pairs, n_pairs=n_pairs, can_reach_05=False, verdict="too few")
        for one in [*(compared(place) for place in (1, 5, 6, 7, 9)), replace(PRIMARY, guards=())]
    ]
    (table,) = paired_tables(pair)
    # Of the secondary metrics it is said once, in a note.
    verdicts = [{row[-1] for row in section.rows} for section in table.sections]
    assert verdicts == [{Verdict("too few")}, {None}]
    assert f"secondary: {n_pairs} seeds are too few, 8 would do (all of them)" in table.notes
    assert f"primary: {n_pairs} seeds are too few, {max(6, n_pairs + 1)} would do" in table.notes


def test_pairs_that_share_a_baseline_are_one_family_and_others_are_not() -> None:
    other = replace(PRIMARY, against="byol", p=0.03125, p_pairs=0.03125)
    told = {(one.spec, one.against): one for one in effects([*FAMILY, other]) if one.role == "primary"}
    found = {pair: (one.family, one.p and one.p.value) for pair, one in told.items()}
    assert found == {
        ("simclr+dsa", "simclr"): (2, 1 / 64), (SECOND, "simclr"): (2, 0.25), ("simclr+dsa", "byol"): (1, 0.03125),
    }  # fmt: skip
    holm = "primary: p adjusted by Holm over 2 pairs against simclr, interval not adjusted"
    assert notes_of(*FAMILY, other).count(holm) == 2
    assert not any("pairs" in note for note in notes_of(other))


def test_so_many_seeds_would_do_for_so_many_pairs() -> None:
    few = replace(PRIMARY, n_pairs=7, p_pairs=4 / 64, can_reach_05=False, verdict="too few")
    pairs = [replace(few, spec=f"arm{i}") for i in range(4)]
    assert {one.would_do for one in effects(pairs)} == {8}
    assert (
        "7 seeds are too few after Holm over 4 pairs, 8 would do; exact 95% interval -.062 to -.040; "
        "p = .031 before Holm): too few."
    ) in finding(pairs)
    assert "primary: 7 seeds are too few, 8 would do, p before Holm .031" in notes_of(*pairs)
    # An arm of one seed so far is adjusted for nowhere, and counts as soon as it has more.
    one_seed = replace(few, spec="arm4", n_seeds=1, n_pairs=1, p=1.0, p_pairs=None)
    told = effects([*pairs, one_seed])
    assert {(one.family, one.would_do) for one in told} == {(4, 8)}
    assert told[-1].p == PValue(1.0)


@pytest.mark.parametrize(
    ("guard", "note"),
    [
        (HELD[0], "guard kNN: held (gain +.3 to +1.1 points, margin 1)"),
        (HELD[1], "guard 5-shot (centroid): held (gain +3.5 to +4.5 points, margin 1)"),
        (GuardCheck("knn", 0.025, -0.03, 0.0, False), "guard kNN: fallen (gain -3.0 to 0 points, margin 2.5)"),
        (GuardCheck("knn", 0.0, -math.inf, 0.01, False), "guard kNN: fallen (gain -inf to +1.0 points, margin 0)"),
        (GuardCheck("cdnv", 0.01, -0.004, 0.02, True), "guard CDNV: held (gain -.004 to +.020, margin .01)"),
        (GuardCheck("linear", 0.01, -math.inf, math.inf, None), "guard linear: not measured on enough seeds"),
    ],
)  # fmt: skip
def test_a_guard_is_a_note(guard: GuardCheck, note: str) -> None:
    assert [one for one in notes_of(replace(PRIMARY, guards=(guard,))) if one.startswith("guard")] == [note]


def test_failed_and_missing_runs_are_notes_with_their_metrics_where_others_have_them() -> None:
    short = {"n_failed": 2, "n_pairs": 8, "missing": (3, 9), "n_failed_against": 1, "test": "signed-rank"}
    both = [replace(PRIMARY, **short), compared(1, **short)]
    owing = ["simclr+dsa: 2 of 8 runs failed", "simclr+dsa: seeds 3, 9 missing", "simclr: 1 of 10 runs failed"]
    assert notes_of(*both)[-3:] == owing
    assert notes_of(*both, compared(5))[-3:] == [f"{words} (CDNV, silhouette)" for words in owing]
    assert "means and differences: over the seeds that both arms have a value for" in notes_of(*both)
    assert notes_of(*both)[1].startswith("interval and p: exact signed-rank test, failed runs last")
    assert "sign-flip test, or where runs failed or are missing signed-rank test" in notes_of(*both, compared(5))[1]
    assert not any("failed" in note or "seeds that" in note for note in notes_of(*PAIR))


def test_skewed_differences_are_named_where_a_test_judges_them() -> None:
    described = compared(3, role="descriptive", verdict="", skewed=True)
    told = notes_of(replace(PRIMARY, skewed=True), compared(5, skewed=True), compared(1), described)
    assert "differences of CDNV, kNN (k=20) look skewed: the test assumes symmetry" in told
    assert not any("skewed" in note for note in notes_of(*PAIR, described))


@pytest.mark.parametrize(
    ("share", "ends", "text"),
    [
        (0.724, (0.601, 0.809), "72% (95% interval 60 to 81)"),
        (-0.004, (-0.3, -0.001), "-.4% (95% interval -30 to -.1)"),
        (0.38, (-math.inf, math.inf), "38% (95% interval unbounded)"),
        (0.38, (None, None), "38%"),
    ],
)
def test_the_gap_has_an_interval_and_a_ceiling(
    share: float, ends: tuple[float | None, float | None], text: str
) -> None:
    one = replace(PRIMARY, gap_closed=share, gap_low=ends[0], gap_high=ends[1], ceiling="supcon")
    assert f"primary: closes {text} of the gap to supcon" in notes_of(one)
    assert not any("gap" in note for note in notes_of(replace(one, gap_closed=None)))


def test_the_interval_over_images_is_a_note_of_the_primary_metric() -> None:
    one = replace(PRIMARY, images_low=-0.064, images_high=1e-16)
    assert "primary: over seeds and test images: 95% interval -.064 to 0" in notes_of(one)
    assert not any("images" in note for note in notes_of(*PAIR))


def test_what_is_told_is_what_was_compared() -> None:
    seeds = range(8)
    lost = [row for row in rows_of("simclr+dsa", seeds) if row.seed < 6]
    rows = [*rows_of("simclr", seeds), *lost, failed("simclr+dsa", 6), failed("simclr+dsa", 7), *rows_of("byol", seeds)]
    rows += rows_of("supervised", range(1, 9))
    rows = [replace(row, value=row.value and row.value / 2) if row.spec == "supervised" else row for row in rows]
    found = compare_rows(
        rows,
        ["simclr", "simclr+dsa", "byol", "supervised"],
        Criteria(parse_primary("cdnv"), tuple(map(parse_guard, GUARDS))),
        "backbone",
    )
    told = effects(found)
    assert [one.word for one in told] == [one.verdict for one in found]
    arm, byol = (one for one in told if one.role == "primary" and one.spec != "supervised")
    assert (arm.n_seeds, arm.n_pairs, arm.test, arm.family) == (6, 8, "signed-rank", 3)
    assert arm.shortfalls == ("simclr+dsa: 2 of 8 runs failed",)
    assert [guard.label for guard in arm.guards] == ["kNN", "5-shot (centroid)"]
    assert isinstance(arm.gap, Gap)
    assert (arm.gap.ceiling, byol.gap) == ("supervised", None)
    assert (byol.word, byol.difference) == ("no difference", Difference(0.0, "", 0.168))


def test_an_arm_that_always_fails_has_no_number() -> None:
    rows = [*rows_of("simclr", range(8)), *(failed("simclr+dsa", seed) for seed in range(8))]
    found = compare_rows(rows, ["simclr", "simclr+dsa"], CRITERIA, "backbone")
    (table,) = paired_tables(found)
    _, before, after, difference, interval, p, verdict = table.sections[0].rows[0]
    assert (before, after, difference, verdict) == (None, None, None, Verdict("worse"))
    assert (written(interval), written(p)) == ("infinite", ".008")
    assert finding(found) == (
        "simclr+dsa against simclr on cdnv (no seed has a value of both; exact 95% interval infinite, p = .008, "
        "8 seeds; simclr+dsa: 8 of 8 runs failed): worse."
    )
