"""The run folder: `run.json`, `config.toml`, `log.csv` and two generations of checkpoints. It is the truth."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsabench.config.run_config import RunConfig
from dsabench.errors import DataError, StorageError, UsageError
from dsabench.files import read_json, sha256_bytes, sha256_file, to_json, to_toml, write_atomic
from dsabench.signals import Stop
from dsabench.tables.rows import csv_text
from dsabench.training.lock import Claim, acquire
from dsabench.training.migration import check_version, current, names
from dsabench.training.record import SCHEMA_VERSION, check_record, sealed

if TYPE_CHECKING:
    from dsabench.training.ranks import Ranks

GENERATIONS = 2


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
        # Held by the process that writes, while it works on the run.
        self.claim: Claim | None = None

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
        check_version(state, path)
        check_record(state, path)
        try:
            written, state = state, current(state, path)
            config = RunConfig.model_validate(state["config"])
            sound = names(written, config)
        except (UsageError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is not of this version of dsabench: {error}") from error
        if not sound:
            raise DataError(
                f"{path} was changed by hand: its configuration has the hash {config.run_id}, "
                f"not {written['config_hash'][:12]}"
            )
        state.pop("checksum", None)
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
        """Change the state and write it; raises DataError where another process has taken the run over."""
        if self.claim is not None:
            self.claim.check()
        self.state |= changes
        identity = {"run_id": self.config.run_id, "config_hash": self.config.config_hash}
        content = {"schema_version": SCHEMA_VERSION, **self.state, **identity, "config": self.config.model_dump()}
        path = self.folder / "run.json"
        write_atomic(path, to_json(sealed(content, path)))

    def written_by(self, ranks: Ranks, change: Callable[[], None]) -> None:
        """Let the one of `ranks` that writes do a `change`; all of them hold the state that it leaves."""

        def write() -> dict[str, Any]:
            change()
            return self.state

        self.state = ranks.by_writer(write)

    def begin(self, **facts: Any) -> None:
        """Write down what the run is, before its first step."""
        flags = to_toml(self.config.flags())
        write_atomic(self.folder / "config.toml", flags)
        self.update(status="running", error=None, config_sha256=sha256_bytes(flags.encode()), **facts)

    def write_log(self, rows: Sequence[Mapping[str, object]]) -> str:
        """Write `log.csv`, a row per epoch, and return its SHA-256."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = csv_text(names, ([row.get(name) for name in names] for row in rows))
        write_atomic(self.folder / "log.csv", text)
        return sha256_bytes(text.encode())

    def log_is_whole(self) -> bool:
        """Whether `log.csv` is the one that was written, as far as that was written down."""
        known, path = self.state.get("log_sha256"), self.folder / "log.csv"
        return known is None or (path.exists() and sha256_file(path) == known)

    def last_epoch(self) -> dict[str, float]:
        """The last row of `log.csv` by column; empty where there is none yet.

        Raises DataError where the log of a finished run is missing or damaged: a table would lack what stood in it.
        """
        path = self.folder / "log.csv"
        if not self.log_is_whole():
            if self.state["status"] == "finished":
                raise DataError(f"{path} is missing or damaged; the same pretrain command mends it")
            # It is written before the state, and a kill may have come between them.
            return {}
        if not path.exists():
            return {}
        try:
            names, *rows = (line.split(",") for line in path.read_text(encoding="utf-8").splitlines())
            # Numbers alone: no cell is quoted.
            return {name: float(cell) for name, cell in zip(names, rows[-1], strict=True) if cell} if rows else {}
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}); restore or remove it") from error

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
        for file in self.strays():
            file.unlink(missing_ok=True)

    def strays(self) -> list[Path]:
        """Checkpoints that are not entered, or no longer."""
        kept = {saved["file"] for saved in self.state["checkpoints"]}
        return [file for file in (self.folder / "checkpoints").glob("*.safetensors") if file.name not in kept]

    def tidy(self, stop: Stop) -> None:
        """Remove the checkpoints that a process left which was killed before it removed them; raises Interrupted."""
        if not self.strays():
            return
        # A store that may not be written may be read.
        with suppress(StorageError), acquire(self.folder, stop):
            self.reload()
            for file in self.strays():
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
        """Whether the run is finished and its last checkpoint and its log are still those that were written."""
        if self.state["status"] != "finished":
            return False
        saved = self.state["checkpoints"][-1]
        path = self.folder / "checkpoints" / str(saved["file"])
        return path.exists() and sha256_file(path) == str(saved["sha256"]) and self.log_is_whole()

    def check_finished(self) -> None:
        """Raise DataError where the run is not finished."""
        if self.state["status"] != "finished":
            raise DataError(f"the run {self.folder} is not finished ({self.state['status']}); run pretrain again first")

    def final_checkpoint(self) -> Path:
        """The checkpoint of a finished run; raises DataError where the run is not finished or the file is damaged."""
        self.check_finished()
        if not self.is_complete():
            raise DataError(
                f"the checkpoint {self.checkpoint} or log.csv is missing or damaged; the same pretrain command mends it"
            )
        return self.folder / "checkpoints" / str(self.state["checkpoints"][-1]["file"])

    @contextmanager
    def locked(self, stop: Stop, ranks: Ranks) -> Iterator[None]:
        """Hold the run against other processes than `ranks`; waits, and says so, while another one trains it.

        Raises Interrupted where a signal came first.
        """
        claims: list[Claim] = []
        ranks.by_writer(lambda: claims.append(acquire(self.folder, stop)))
        self.claim = claims[0] if claims else None
        try:
            yield
        finally:
            for claim in claims:
                claim.release()
            self.claim = None

    def erase(self) -> None:
        """Forget what was trained, but keep the folder and its lock."""
        self.state = {"spec": str(self.config.spec), "status": "new", "checkpoints": []}
        (self.folder / "run.json").unlink(missing_ok=True)
        for name in ("checkpoints", "features", "rows", "tensorboard"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def own_flags(path: Path, content: bytes) -> dict[str, object]:
    """What the `config.toml` of a run says of it under the names of this version; nothing of another file beside it.

    Raises DataError where it is not what the run wrote: it names another run.
    """
    run = Run.load(path.parent) if path.name == "config.toml" else None
    known = run.state.get("config_sha256") if run else None
    if (known is not None and sha256_bytes(content) != known) or not content.strip():
        raise DataError(f"{path} is not the configuration that its run wrote; restore it, or change a copy elsewhere")
    return {"method": str(run.config.spec)} if run else {}
