"""What is tried next is a function of what was tried: the same in every process, and inside the space."""

import subprocess
import sys

import pytest
from optuna.trial import FrozenTrial

from dsabench.config.spaces import Choice, Range
from dsabench.launch.journal import as_frozen
from dsabench.launch.proposals import Options, distribution, propose, source_of
from dsabench.tables.trials import Trial

SPACE = {
    "method.lr": Range(0.0005, 0.02, log=True),
    "regularizer.k": Range(8, 40),
    "regularizer.similarity": Choice(("nested", "shared")),
}
DEFAULT: Options = {"method.lr": 0.002, "regularizer.k": 20, "regularizer.similarity": "nested"}
DISTRIBUTIONS = {name: distribution(dimension) for name, dimension in SPACE.items()}


def tried(options: Options, number: int, *, failed: bool = False) -> FrozenTrial:
    # The best is at k = 30 whatever else is chosen.
    value = None if failed else 1 - abs(int(options["regularizer.k"]) - 30) / 30
    return as_frozen(Trial(number, "", "", options, (value,), ("",), 0.0, "ok"), DISTRIBUTIONS)


def search(trials: int, failing: tuple[int, ...] = ()) -> list[Options]:
    history: list[FrozenTrial] = []
    found: list[Options] = []
    while len(found) < trials:
        batch = propose("an arm", SPACE, DEFAULT, history, min(4, trials - len(found)), trials)
        history += [tried(one, len(found) + i, failed=len(found) + i in failing) for i, one in enumerate(batch)]
        found += batch
    return found


def test_the_defaults_come_first_then_points_that_fill_the_space_then_what_looks_good() -> None:
    found = search(24)
    assert found[0] == DEFAULT
    assert [source_of(number, 16) for number in (0, 1, 3, 4, 15)] == [
        "default", "quasi-random", "quasi-random", "tpe", "tpe",
    ]  # fmt: skip
    for options in found:
        assert options.keys() == SPACE.keys()
        assert all(SPACE[name].holds(value) for name, value in options.items())
    assert len({str(options) for options in found}) == 24
    late = [abs(int(options["regularizer.k"]) - 30) for options in found[12:]]
    assert sum(late) / len(late) < 8


def test_the_same_history_gives_the_same_proposals_in_another_process() -> None:
    code = "from test_proposals import search\nprint(search(10, failing=(1, 5)))"
    path = f"import sys\nsys.path.insert(0, {str(__file__).rpartition('/')[0]!r})\n"
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(search(10, failing=(1, 5)))


def test_a_larger_search_begins_with_the_same_points() -> None:
    assert search(64)[:16] == search(128)[:16]


@pytest.mark.parametrize("failing", [(0,), (0, 1, 2, 3)])
def test_failed_trials_are_told_and_the_search_goes_on(failing: tuple[int, ...]) -> None:
    assert len(search(8, failing)) == 8


def test_another_arm_draws_other_points() -> None:
    mine, other = (propose(name, SPACE, DEFAULT, [], 4, 16) for name in ("simclr", "byol"))
    assert mine[0] == other[0]
    assert mine[1:] != other[1:]
