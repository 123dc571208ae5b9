"""The journal of a search: every trial that is done, in optuna's journal file, written once and in order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from dsabench.errors import DataError, DsabenchError
from dsabench.files import sha256_bytes, write_atomic
from dsabench.tables.trials import Trial

# What a trial says of itself, under its own name among optuna's attributes.
CHECKSUM = "checksum"


class Unlocked:
    """No lock: optuna's own is a file that outlives a killed process, and whoever comes next would wait for it."""

    def acquire(self) -> bool:
        """The file is held by `Journal` already."""
        return True

    def release(self) -> None:
        """There is nothing to let go of."""


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
                # optuna takes a last line that it cannot read for one that is still being written.
                for line in self.path.read_text().splitlines() if self.path.exists() else ():
                    json.loads(line)
                storage = JournalStorage(JournalFileBackend(str(self.path), lock_obj=Unlocked()))  # type: ignore[arg-type]
                known = {study.study_name for study in storage.get_all_studies()}
                if self.name in known:
                    study = optuna.load_study(study_name=self.name, storage=storage)
                else:
                    study = optuna.create_study(study_name=self.name, storage=storage, direction="maximize")
                for number, frozen in enumerate(study.trials):
                    check_trial(frozen, number)
            except (OSError, DsabenchError):
                # The disk, or a signal.
                raise
            except Exception as error:
                # optuna checks nothing of what it reads, and fails in as many ways as a line can be wrong.
                raise DataError(
                    f"the journal {self.path} is damaged ({type(error).__name__}: {error}); remove it: "
                    "the finished runs are used again"
                ) from error
            yield study

    def _mend(self) -> None:
        """Cut off a line that a killed process left half written."""
        content = self.path.read_bytes() if self.path.exists() else b""
        if not content.endswith(b"\n"):
            write_atomic(self.path, content[: content.rfind(b"\n") + 1])


def as_frozen(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """A trial in optuna's terms, failed where a run failed."""
    facts: dict[str, Any] = asdict(trial)
    value = trial.value
    frozen = create_trial(
        state=TrialState.FAIL if value is None else TrialState.COMPLETE,
        value=value,
        params=dict(trial.options),
        distributions=dict(distributions),
        user_attrs={name: value for name, value in facts.items() if name not in ("number", "options")},
    )
    frozen.user_attrs = {**frozen.user_attrs, CHECKSUM: checksum_of(frozen)}
    return frozen


def check_trial(frozen: FrozenTrial, number: int) -> None:
    """Raise ValueError or TypeError where this is not trial `number` as it was written.

    Earlier versions wrote no checksum.
    """
    known = frozen.user_attrs.get(CHECKSUM)
    if frozen.number != number or known not in (None, checksum_of(frozen)):
        raise ValueError(f"trial {number} is not what was written")
    as_trial(frozen)


def checksum_of(frozen: FrozenTrial) -> str:
    """The SHA-256 of all that a trial says but when it was."""
    facts = {
        "state": frozen.state.name,
        "value": frozen.value,
        "params": frozen.params,
        "spaces": {name: distribution_to_json(space) for name, space in frozen.distributions.items()},
        "attributes": {name: value for name, value in frozen.user_attrs.items() if name != CHECKSUM},
    }
    return sha256_bytes(json.dumps(facts, sort_keys=True).encode())


def as_trial(frozen: FrozenTrial) -> Trial:
    """What `as_frozen` was given."""
    facts: dict[str, Any] = {name: value for name, value in frozen.user_attrs.items() if name != CHECKSUM}
    # JSON has lists alone.
    facts |= {name: tuple(facts.get(name, ())) for name in ("values", "run_ids", "cdnv")}
    return Trial(number=frozen.number, options=frozen.params, **facts)
