"""The journal of a search: trials come back as they were, once each, and a torn line costs only itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from dsabench.config.spaces import Choice, Range
from dsabench.errors import DataError
from dsabench.launch.journal import Journal, as_frozen, as_trial
from dsabench.launch.proposals import distribution
from dsabench.tables.trials import Trial

SPACE = {"method.lr": distribution(Range(0.1, 1.0)), "regularizer.m": distribution(Choice(("learned", "prior")))}
TRIALS = [
    Trial(
        0,
        "default",
        "a+b",
        {"method.lr": 0.5, "regularizer.m": "prior"},
        (0.5, 0.75),
        ("aa", "bb"),
        2.5,
        "ok",
        "",
        (0.3, None),
    ),
    Trial(
        1,
        "tpe",
        "a",
        {"method.lr": 0.1, "regularizer.m": "learned"},
        (0.5, None),
        ("c", "d"),
        0.0,
        "failed",
        "seed 1: x",
    ),
]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    found = Journal(tmp_path / "tuning" / "0123.log", "a+b")
    assert found.trials() == []
    for trial in TRIALS:
        found.add(trial, SPACE)
    return found


def test_trials_come_back_as_they_were(journal: Journal) -> None:
    assert Journal(journal.path, "a+b").trials() == TRIALS
    assert [trial.state.name for trial in journal.history()] == ["COMPLETE", "FAIL"]


def test_a_trial_that_another_process_wrote_is_not_written_again(journal: Journal) -> None:
    journal.add(replace(TRIALS[1], values=(1.0, 1.0)), SPACE)
    assert journal.trials() == TRIALS


def test_a_line_that_was_cut_off_is_taken_for_not_written(journal: Journal) -> None:
    journal.path.write_bytes(journal.path.read_bytes()[:-40])
    assert journal.trials() == TRIALS[:1]
    journal.add(TRIALS[1], SPACE)
    assert journal.trials() == TRIALS


def test_a_damaged_journal_is_named(journal: Journal) -> None:
    journal.path.write_text("nonsense\n" + journal.path.read_text())
    with pytest.raises(DataError, match=r"the journal .*0123\.log is damaged"):
        journal.trials()


def test_a_trial_of_before_crowding_was_measured_is_read() -> None:
    frozen = as_frozen(TRIALS[0], SPACE)
    assert frozen.user_attrs.pop("cdnv") == (0.3, None)
    assert as_trial(frozen) == replace(TRIALS[0], number=frozen.number, cdnv=())
    assert as_trial(frozen).crowding is None
