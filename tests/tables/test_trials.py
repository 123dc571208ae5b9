"""Trials as a table: the best one, and failed ones that are never dropped."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from dsabench.tables.trials import Trial, best, expected, summary, write_budget, write_trials

FIRST = Trial(0, "default", "simclr", {"method.lr": 0.002}, (0.8, 0.6), ("aa", "bb"), 3.5, "ok")
FAILED = replace(
    FIRST, number=1, values=(0.99, None), status="failed", note="seed 11: the loss is nan", spec="simclr[lr=9]"
)


def test_a_trial_is_worth_the_mean_of_its_seeds_and_nothing_where_one_failed() -> None:
    assert FIRST.value == pytest.approx(0.7)
    assert FAILED.value is None


def test_of_equal_trials_the_first_wins_and_a_failed_one_never() -> None:
    again = replace(FIRST, number=2)
    assert best([FAILED, FIRST, again]) is FIRST
    assert best([FAILED]) is None


def test_a_failed_trial_counts_as_one_that_answers_nothing() -> None:
    assert expected([FIRST, FAILED]) == pytest.approx({1: 0.35, 2: 0.525})
    (result,) = summary({"simclr": [FIRST, FAILED]})
    assert (result["failed"], result["trial"], result["spec"]) == (1, 0, "simclr")


def test_the_table_has_every_trial_of_every_arm(tmp_path: Path) -> None:
    dsa = replace(FIRST, options={"method.lr": 0.002, "regularizer.k": 20}, spec="simclr+dsa", cdnv=(0.25, 0.75))
    arms = {"simclr": [FIRST, FAILED], "simclr+dsa": [dsa]}
    write_trials(arms, (10, 11), tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["cdnv"] for row in rows] == ["", "", "0.5"]
    assert [(row["arm"], row["trial"]) for row in rows] == [("simclr", "0"), ("simclr", "1"), ("simclr+dsa", "0")]
    assert (
        rows[1]
        | {
            "status": "failed",
            "note": "seed 11: the loss is nan",
            "value": "",
            "value_s10": "0.99",
            "value_s11": "",
            "regularizer.k": "",
            "run_ids": "aa bb",
            "wall_s": "3.5",
        }
        == rows[1]
    )
    assert rows[2]["regularizer.k"] == "20"
    write_budget(arms, tmp_path / "budget.csv")
    text = (tmp_path / "budget.csv").read_text()
    assert (
        text
        == f"arm,trials,expected_best\nsimclr,1,0.35\nsimclr,2,{expected([FIRST, FAILED])[2]!r}\nsimclr+dsa,1,0.7\n"
    )
