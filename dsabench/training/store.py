"""The run store: a folder of runs, `<dataset>/<method>/s<seed>-<hash>`, found by their identity."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from dsabench.config.run_config import RunConfig
from dsabench.errors import DataError, UsageError
from dsabench.training.run import Run, say


class Store:
    """The runs in a folder, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, config: RunConfig) -> Run:
        """The run of a configuration, as it is on disk, or new; nothing is written yet.

        It may lie under another title of its data, and have been written by an earlier version. Raises DataError where
        its folder holds a damaged run or another one.
        """
        ours = config.folder(self.path)
        elsewhere = sorted(self.path.glob(f"*/*/{ours.name}/run.json"))
        folder = ours if (ours / "run.json").exists() else elsewhere[0].parent if elsewhere else None
        if folder is None:
            earlier = self._earlier.get(config.config_hash)
            return earlier.asked_as(config) if earlier else Run.new(ours, config)
        known = Run.load(folder)
        if known.config.config_hash != config.config_hash:
            raise DataError(f"{folder} holds another run, {known.config.run_id}; move it out of the way")
        return known.asked_as(config)

    @cached_property
    def _earlier(self) -> dict[str, Run]:
        """Runs whose folder bears the hash of an earlier version, by the hash that they have now."""
        found = [run for run in self.runs(warn=False) if not run.folder.name.endswith(run.config.run_id)]
        return {run.config.config_hash: run for run in found}

    def has_namesake(self, config: RunConfig) -> bool:
        """Whether a run here was trained on other images of the user's that tables call by the same name."""
        data = config.data
        if data.content is None:
            return False
        known = (run.config.data for run in self.runs(warn=False))
        return any(other.label == data.label and other.content not in (None, data.content) for other in known)

    def runs(self, *, warn: bool = True) -> list[Run]:
        """All runs, oldest first; damaged ones are named and left out."""
        found = []
        for path in sorted(self.path.glob("*/*/*/run.json")):
            try:
                found.append(Run.load(path.parent))
            except DataError as error:
                if warn:
                    say(f"warning: {error}")
        return sorted(found, key=lambda run: (str(run.state.get("started_utc")), run.folder.parts))

    def find(self, text: str) -> Run:
        """A run by its folder, or by its id or the beginning of it; raises DataError or UsageError."""
        folder = Path(text)
        if folder.is_dir():
            return Run.load(folder)
        matches = [run for run in self.runs() if any(name.startswith(text) for name in run.ids)]
        if not matches:
            raise DataError(f"no run {text!r} in {self.path}; see: dsabench list runs --runs {self.path}")
        if len(matches) > 1:
            names = ", ".join(run.config.run_id for run in matches)
            raise UsageError(f"{text!r} is the beginning of {len(matches)} runs: {names}")
        return matches[0]

    def newest_finished(self) -> Run:
        """The run that finished last; raises DataError where none has."""
        finished = [run for run in self.runs() if run.state["status"] == "finished"]
        if not finished:
            raise DataError(f"no finished run in {self.path}; train one with: dsabench pretrain --runs {self.path}")
        # Of runs that finished within one second, the one that was written last.
        return max(finished, key=lambda run: (run.state["finished_utc"], (run.folder / "run.json").stat().st_mtime_ns))
