"""The time left over all runs: from what this command has trained, whatever was there already."""

import pytest

from dsabench.pace import Pace


def test_nothing_is_known_before_the_first_step_and_its_own_time_does_not_count() -> None:
    pace = Pace(4)
    assert pace.left([], 0) is None
    # The first step of a run is slow; the clock starts with the news of it.
    pace.note("a", 0.1, 100.0, training=True, active=1)
    assert pace.left([0.1], 0) is None
    pace.note("a", 0.3, 104.0, training=True, active=1)
    assert pace.left([0.3], 0) == pytest.approx(20 * (0.7 + 3))


def test_a_reused_run_changes_neither_speed_nor_work() -> None:
    pace, bare = Pace(4), Pace(3)
    pace.note("there", 1.0, 0.0, training=False, active=1)
    pace.note("there", 1.0, 50.0, training=False, active=0)
    for one in (pace, bare):
        one.note("a", 0.0, 60.0, training=True, active=1)
        one.note("a", 0.5, 70.0, training=True, active=1)
    assert pace.left([0.5], 1) == bare.left([0.5], 0) == pytest.approx(20 * 2.5)


def test_a_resumed_run_counts_what_was_trained_now() -> None:
    pace = Pace(1)
    pace.note("a", 0.5, 0.0, training=True, active=1)
    pace.note("a", 0.75, 10.0, training=True, active=1)
    assert pace.left([0.75], 0) == pytest.approx(10)


def test_runs_side_by_side_share_the_work_and_the_longest_is_waited_for() -> None:
    pace = Pace(4)
    for run in ("a", "b"):
        pace.note(run, 0.0, 0.0, training=True, active=2)
        pace.note(run, 0.5, 10.0, training=True, active=2)
    assert pace.left([0.5, 0.5], 0) == pytest.approx(20 * 3 / 2)
    # The last one runs alone.
    assert pace.left([0.0], 3) == pytest.approx(20)
    assert pace.left([], 4) == 0


def test_evaluation_is_part_of_what_a_run_takes() -> None:
    pace = Pace(2)
    pace.note("a", 0.0, 0.0, training=True, active=1)
    pace.note("a", 1.0, 10.0, training=True, active=1)
    pace.note("a", 1.0, 14.0, training=False, active=0)
    assert pace.left([], 1) == pytest.approx(14)
