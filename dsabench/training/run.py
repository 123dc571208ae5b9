"""The run folder: `run.json`, `config.toml`, `log.csv` and two generations of checkpoints. It is the truth."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from dsabench.config.run_config import RunConfig
from dsabench.errors import DataError, StorageError, UsageError
from dsabench.files import read_json, sha256_file, to_toml, write_atomic
from dsabench.signals import Stop
from dsabench.tables.rows import csv_text
from dsabench.training.migration import SCHEMA_VERSION, current

if TYPE_CHECKING:
    from dsabench.training.ranks import Ranks

GENERATIONS = 2

# How often a process that waits for another one looks for signals, in seconds.
WAIT_S = 0.5


def utc_now() -> str:
    """The time as ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def say(message: str) -> None:
    """A message for the user: stdout is for data."""
    print(message, file=sys.stderr, flush=True)


class Run:
    """One run's folder. `state` is what `run.json` holds; every change is written at once, atomically.

    `state["status"]` is `new`, `running`, `interrupted`, `finished` or `failed`; a run that was killed stays `running`.
    """

    def __init__(self, folder: Path, config: RunConfig, state: dict[str, Any]) -> None:
        self.folder = folder
        self.config = config
        self.state = state

    @classmethod
    def new(cls, folder: Path, config: RunConfig) -> Run:
        """A run that nothing is written of yet."""
        return cls(folder, config, {"spec": str(config.spec), "status": "new", "checkpoints": []})

    @classmethod
    def load(cls, folder: Path) -> Run:
        """The run in a folder; raises DataError where there is none, or it is damaged or of a later version."""
        path = folder / "run.json"
        if not path.exists():
            raise DataError(f"{folder} is no run: it has no run.json; see: dsabench list runs")
        state = read_json(path)
        missing = {"config", "config_hash", "run_id", "status", "checkpoints"} - state.keys()
        if missing:
            raise DataError(f"{path} is not of this version of dsabench: it has no {', '.join(sorted(missing))}")
        version, written = state.get("schema_version"), str(state["config_hash"])
        state = current(state, path)
        try:
            config = RunConfig.model_validate(state["config"])
            config_hash = config.config_hash
        except (ValidationError, UsageError, KeyError) as error:
            raise DataError(f"{path} is not of this version of dsabench: {error}") from error
        if version == SCHEMA_VERSION and config_hash != written:
            raise DataError(
                f"{path} was changed by hand: its configuration has the hash {config.run_id}, not {written[:12]}"
            )
        return cls(folder, config, state)

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of the run: its identity, and the one that its folder had under an earlier version."""
        return tuple(dict.fromkeys((self.config.run_id, self.folder.name.rpartition("-")[2])))

    def asked_as(self, config: RunConfig) -> Run:
        """The same run as it was asked for: under its spelling of the spec, with its folder of the data."""
        return Run(self.folder, config, self.state)

    def reload(self) -> None:
        """Read the state again, which another process may have changed."""
        if (self.folder / "run.json").exists():
            self.state = Run.load(self.folder).state

    def update(self, **changes: Any) -> None:
        """Change the state and write it."""
        self.state |= changes
        identity = {"run_id": self.config.run_id, "config_hash": self.config.config_hash}
        content = {"schema_version": SCHEMA_VERSION, **self.state, **identity, "config": self.config.model_dump()}
        write_atomic(self.folder / "run.json", to_json(content))

    def written_by(self, ranks: Ranks, change: Callable[[], None]) -> None:
        """Let the one of `ranks` that writes do a `change`; all of them hold the state that it leaves."""

        def write() -> dict[str, Any]:
            change()
            return self.state

        self.state = ranks.by_writer(write)

    def begin(self, **facts: Any) -> None:
        """Write down what the run is, before its first step."""
        # A kill in the middle of a write leaves a temporary file, and the lock says that nobody is writing now.
        for stale in self.folder.rglob(".*.tmp"):
            stale.unlink(missing_ok=True)
        write_atomic(self.folder / "config.toml", to_toml(self.config.flags()))
        self.update(status="running", error=None, **facts)

    def write_log(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Write `log.csv`, a row per epoch."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        write_atomic(self.folder / "log.csv", csv_text(names, ([row.get(name) for name in names] for row in rows)))

    def last_epoch(self) -> dict[str, str]:
        """The last row of `log.csv` by column; empty where there is none, or it cannot be read."""
        try:
            lines = (self.folder / "log.csv").read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return {}
        # Numbers alone: no cell is quoted.
        return dict(zip(lines[0].split(","), lines[-1].split(","), strict=False)) if len(lines) > 1 else {}

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint, or None."""
        saved = self.state["checkpoints"]
        return self.folder / "checkpoints" / saved[-1]["file"] if saved else None

    def add_checkpoint(self, path: Path, sha256: str, **changes: Any) -> None:
        """Enter a written checkpoint as the newest and remove those that are no longer kept."""
        entry = {"file": path.name, "sha256": sha256}
        older = [saved for saved in self.state["checkpoints"] if saved["file"] != path.name]
        kept = [*older, entry][-GENERATIONS:]
        self.update(checkpoints=kept, **changes)
        for file in path.parent.glob("*.safetensors"):
            if file.name not in {saved["file"] for saved in kept}:
                file.unlink(missing_ok=True)

    def sound_checkpoints(self) -> Iterator[Path]:
        """The checkpoints whose bytes are those that were written, newest first; a damaged one is named."""
        for older, saved in reversed(list(enumerate(self.state["checkpoints"]))):
            path = self.folder / "checkpoints" / saved["file"]
            if path.exists() and sha256_file(path) == saved["sha256"]:
                yield path
            else:
                wrong = "damaged" if path.exists() else "missing"
                then = "using the one before" if older else "starting from the beginning"
                say(f"warning: the checkpoint {path} is {wrong}; {then}")

    def is_complete(self) -> bool:
        """Whether the run is finished and its last checkpoint is still the one that was written."""
        if self.state["status"] != "finished":
            return False
        saved = self.state["checkpoints"][-1]
        path = self.folder / "checkpoints" / str(saved["file"])
        return path.exists() and sha256_file(path) == str(saved["sha256"])

    def check_finished(self) -> None:
        """Raise DataError where the run is not finished."""
        if self.state["status"] != "finished":
            raise DataError(f"the run {self.folder} is not finished ({self.state['status']}); run pretrain again first")

    def final_checkpoint(self) -> Path:
        """The checkpoint of a finished run; raises DataError where the run is not finished or the file is damaged."""
        self.check_finished()
        if not self.is_complete():
            raise DataError(
                f"the checkpoint {self.checkpoint} is missing or damaged; the same pretrain command mends it"
            )
        return self.folder / "checkpoints" / str(self.state["checkpoints"][-1]["file"])

    @contextmanager
    def locked(self, stop: Stop, ranks: Ranks) -> Iterator[None]:
        """Hold the run against other processes than `ranks`; waits, and says so, while another one trains it.

        Raises Interrupted where a signal came first.
        """
        lock = FileLock(self.folder / ".lock")
        ranks.by_writer(lambda: self.acquire(lock, stop))
        try:
            yield
        finally:
            lock.release()

    def acquire(self, lock: FileLock, stop: Stop) -> None:
        """Take the lock of the run, or wait for it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                say(f"waiting: another process works on {self.folder}")
                while not lock.is_locked:
                    stop.check()
                    with suppress(Timeout):
                        lock.acquire(timeout=WAIT_S)
        except OSError as error:
            raise StorageError(f"cannot write {self.folder}: {error.strerror or error}") from error

    def erase(self) -> None:
        """Forget what was trained, but keep the folder and its lock."""
        self.state = {"spec": str(self.config.spec), "status": "new", "checkpoints": []}
        (self.folder / "run.json").unlink(missing_ok=True)
        for name in ("checkpoints", "features", "tensorboard"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def to_json(content: Mapping[str, object]) -> str:
    """Readable JSON that ends in a line end."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
