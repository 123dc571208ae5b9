"""Trials: what a search tried and what came of it, as a table; failed ones are in it like the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsabench.files import write_atomic
from dsabench.registry import Scalar
from dsabench.tables.budget import budgets, expected_best
from dsabench.tables.rows import csv_text


@dataclass(frozen=True)
class Trial:
    """One trial: the `spec` that ran, the `options` that were searched, and what the run of each seed came to.

    `source` says where the options come from. `values` has None for a run that failed; `status` is `ok` or `failed`,
    and `note` says how the first of its runs did. `wall_s` is the training time of all its runs. `cdnv` is that of each
    run on the same split, measured and never selected by; empty in journals of before it was.
    """

    number: int
    source: str
    spec: str
    options: Mapping[str, Scalar]
    values: tuple[float | None, ...]
    run_ids: tuple[str, ...]
    wall_s: float
    status: str
    note: str = ""
    cdnv: tuple[float | None, ...] = ()

    @property
    def value(self) -> float | None:
        """The mean over the seeds; None where a run failed."""
        return _mean(self.values)

    @property
    def crowding(self) -> float | None:
        """The mean CDNV over the seeds; None where it was not measured of each."""
        return _mean(self.cdnv) if self.cdnv else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial of the highest value, the first of equal ones; None where all failed."""
    finished = [trial for trial in trials if trial.value is not None]
    return max(finished, key=lambda trial: trial.value or 0.0, default=None)


def expected(trials: Sequence[Trial]) -> dict[int, float]:
    """The best value to be expected after 1, 2, 4, ... trials; a failed one answers nothing, so its accuracy is 0."""
    values = [trial.value or 0.0 for trial in trials]
    return {draws: expected_best(values, draws) for draws in budgets(len(values))}


def summary(arms: Mapping[str, Sequence[Trial]]) -> list[dict[str, Any]]:
    """Of each arm: its defaults' value, the best one with its trial and spec, failures, and what was to be expected."""
    return [
        {
            "arm": arm,
            "default": trials[0].value,
            "best": winner.value if winner else None,
            "trial": winner.number if winner else None,
            "failed": sum(trial.value is None for trial in trials),
            "spec": winner.spec if winner else None,
            "expected_best": expected(trials),
        }
        for arm, trials in arms.items()
        for winner in [best(trials)]
    ]


def write_trials(arms: Mapping[str, Sequence[Trial]], seeds: Sequence[int], path: Path) -> None:
    """Write every trial of every arm, in order, with a column for each seed and each option that any arm searched."""
    options = list(dict.fromkeys(name for trials in arms.values() for trial in trials for name in trial.options))
    header = ["arm", "trial", "source", "status", "value", *(f"value_s{seed}" for seed in seeds), "cdnv"]
    lines = [
        [arm, trial.number, trial.source, trial.status, trial.value, *trial.values, trial.crowding]
        + [trial.options.get(name) for name in options]
        + [trial.spec, " ".join(trial.run_ids), trial.wall_s, trial.note]
        for arm, trials in arms.items()
        for trial in trials
    ]
    write_atomic(path, csv_text([*header, *options, "spec", "run_ids", "wall_s", "note"], lines))


def write_budget(arms: Mapping[str, Sequence[Trial]], path: Path) -> None:
    """Write the best value to be expected of every arm after 1, 2, 4, ... trials."""
    lines = [[arm, draws, value] for arm, trials in arms.items() for draws, value in expected(trials).items()]
    write_atomic(path, csv_text(["arm", "trials", "expected_best"], lines))
