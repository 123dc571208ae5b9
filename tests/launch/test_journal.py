"""The journal of a search: trials come back as they were, once each, and a torn line costs only itself."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dsabench.config.spaces import Choice, Range
from dsabench.errors import DataError, Interrupted
from dsabench.launch import journal as launch_journal
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


def test_a_last_line_that_is_no_json_is_named_before_another_follows_it(journal: Journal) -> None:
    content = bytearray(journal.path.read_bytes())
    content[content.rindex(b'":')] ^= 64
    journal.path.write_bytes(content)
    with pytest.raises(DataError, match=r"the journal .*0123\.log is damaged"):
        journal.add(replace(TRIALS[0], number=2), SPACE)


def test_a_lock_of_optuna_that_a_killed_process_left_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    Path(f"{path}.lock").symlink_to(path)
    began = time.monotonic()
    assert Journal(path, "x").trials() == []
    path.touch()
    assert Journal(path, "x").trials() == []
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("said", "instead"), [("0.75", "0.85"), ("0.625", "0.725"), ('"aa"', '"ab"'), ('"ok"', '"on"')]
)
def test_a_trial_that_was_changed_is_named(said: str, instead: str, tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    journal = Journal(path, "x")
    journal.add(TRIALS[0], SPACE)
    text = path.read_text()
    changed = text.replace(said, instead)
    assert changed != text
    path.write_text(changed)
    with pytest.raises(DataError, match=r"x\.log is damaged .*trial 0"):
        journal.trials()


def test_a_trial_of_an_earlier_version_has_no_checksum_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    Journal(path, "x").add(TRIALS[0], SPACE)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert any(line.get("user_attrs", {}).pop("checksum", None) for line in lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert Journal(path, "x").trials() == TRIALS[:1]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), Interrupted("interrupted", 143)])
def test_what_is_no_fault_of_the_journal_is_not_called_one(
    error: Exception, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(launch_journal, "JournalStorage", fail)
    with pytest.raises(type(error)) as caught:
        journal.trials()
    assert caught.value is error
    journal.erase()
    assert journal.trials() == []


def test_a_trial_of_before_crowding_was_measured_is_read() -> None:
    frozen = as_frozen(TRIALS[0], SPACE)
    assert frozen.user_attrs.pop("cdnv") == (0.3, None)
    assert as_trial(frozen) == replace(TRIALS[0], number=frozen.number, cdnv=())
    assert as_trial(frozen).crowding is None
