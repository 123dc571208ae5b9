"""The journal of a search: every trial that is done, in optuna's journal file, written once and in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from dsabench.errors import DataError
from dsabench.files import write_atomic
from dsabench.tables.trials import Trial


class Journal:
    """The trials of one search in a file; raises DataError where it is damaged."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name

    def trials(self) -> list[Trial]:
        """The trials that are done, in their order."""
        return [as_trial(frozen) for frozen in self.history()]

    def history(self) -> list[FrozenTrial]:
        """The same in optuna's terms."""
        if not self.path.exists():
            return []
        with self._study() as study:
            return study.trials

    def add(self, trial: Trial, distributions: Mapping[str, BaseDistribution]) -> None:
        """Write a trial down, unless another process that does the same search was quicker."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._study() as study:
            if len(study.trials) == trial.number:
                study.add_trial(as_frozen(trial, distributions))

    def erase(self) -> None:
        """Forget all trials."""
        self.path.unlink(missing_ok=True)

    @contextmanager
    def _study(self) -> Iterator[optuna.Study]:
        """The study in the file, held against other processes."""
        with FileLock(self.path.with_suffix(".lock")):
            self._mend()
            try:
                storage = JournalStorage(JournalFileBackend(str(self.path)))
                known = {study.study_name for study in storage.get_all_studies()}
            except (ValueError, KeyError) as error:
                raise DataError(
                    f"the journal {self.path} is damaged ({error}); remove it: the finished runs are used again"
                ) from error
            if self.name in known:
                yield optuna.load_study(study_name=self.name, storage=storage)
            else:
                yield optuna.create_study(study_name=self.name, storage=storage, direction="maximize")

    def _mend(self) -> None:
        """Cut off a line that a killed process left half written."""
        content = self.path.read_bytes() if self.path.exists() else b""
        if not content.endswith(b"\n"):
            write_atomic(self.path, content[: content.rfind(b"\n") + 1])


def as_frozen(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """A trial in optuna's terms, failed where a run failed."""
    facts: dict[str, Any] = asdict(trial)
    value = trial.value
    return create_trial(
        state=TrialState.FAIL if value is None else TrialState.COMPLETE,
        value=value,
        params=dict(trial.options),
        distributions=dict(distributions),
        user_attrs={name: value for name, value in facts.items() if name not in ("number", "options")},
    )


def as_trial(frozen: FrozenTrial) -> Trial:
    """What `as_frozen` was given."""
    facts: dict[str, Any] = dict(frozen.user_attrs)
    # JSON has lists alone.
    facts |= {name: tuple(facts.get(name, ())) for name in ("values", "run_ids", "cdnv")}
    return Trial(number=frozen.number, options=frozen.params, **facts)
