import math
from dataclasses import replace

import pytest
from arms import PAIR, PRIMARY

from dsabench.report import finding, paired_tables
from dsabench.report.effects import effects
from dsabench.report.table import Verdict
from dsabench.report.wording import written
from dsabench.stats import smallest_p


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
    few = replace(PRIMARY, n_seeds=n_seeds, can_reach_05=False)
    pair = [few, *(replace(few, role="secondary") for _ in range(family))]
    assert {one.would_do for one in effects(pair) if one.role == "secondary"} == {enough}
    if enough:
        assert smallest_p(enough) * family < 0.05 <= smallest_p(enough - 1) * family


@pytest.mark.parametrize(
    "verdict", ["insufficient evidence", "cannot reach .05 with 3 seeds", "no difference shown", "too few"]
)
def test_one_outcome_has_one_wording(verdict: str) -> None:
    few = [
        replace(one, n_seeds=3, can_reach_05=False, verdict=verdict)
        for one in [*PAIR[:3], PRIMARY]
        if one.role != "descriptive"
    ]
    (table,) = paired_tables(few)
    assert {row[-1] for section in table.sections for row in section.rows} == {Verdict("too few")}
    assert "primary: cannot reach .05 with 3 seeds; 6 would do" in table.notes
    assert "secondary: none of them can reach .05 with 3 seeds; 7 would do" in table.notes
    assert finding(few).startswith("too few seeds: simclr+dsa against simclr on cdnv")
    assert finding(few).endswith("3 seeds cannot reach .05, 6 would do).")


def test_a_verdict_of_other_words_is_told_as_it_is() -> None:
    tighter = replace(PRIMARY, verdict="tighter, not better")
    (table,) = paired_tables([tighter])
    assert table.sections[0].rows[0][-1] == Verdict("tighter, not better")
    assert finding([tighter]).startswith("tighter, not better: simclr+dsa against simclr on cdnv")
