"""The work of one job: a configuration becomes a run, and the run becomes rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dsabench import __version__
from dsabench.config.plan import configured_dataset
from dsabench.config.run_config import RunConfig
from dsabench.data.dataset import Dataset
from dsabench.errors import DataError, RunFailed
from dsabench.progress import Update
from dsabench.signals import Stop
from dsabench.tables.rows import Row
from dsabench.training.build import facts_of
from dsabench.training.cost import freed_memory_kept
from dsabench.training.loop import fit
from dsabench.training.machine import prepare
from dsabench.training.provenance import device_name, source_revision
from dsabench.training.ranks import Ranks, make_fabric
from dsabench.training.run import Run, utc_now
from dsabench.training.state import State
from dsabench.types import Score

if TYPE_CHECKING:
    from dsabench.evaluation.evaluate import Evaluation

Report = Callable[[Update], None]

# Updates of a run come at most so often, in seconds.
UPDATE_S = 0.1


def validate(config: RunConfig, runs: Path, *, offline: bool) -> None:
    """Build everything that a run needs, so that what cannot be is refused before anything is written."""
    Run.at(config, runs)
    State(config, configured_dataset(config, offline=offline), make_fabric(config))


def train(
    config: RunConfig, runs: Path, *, overwrite: bool, offline: bool, stop: Stop, report: Report
) -> tuple[Run, bool]:
    """The finished run of a configuration and whether it was there already; trains what is missing of it.

    Raises DataError where the run was trained on other data, RunFailed and Interrupted as `fit` does.
    """
    prepare(config)
    dataset = configured_dataset(config, offline=offline)
    run = Run.at(config, runs)
    check_same_data(run, dataset, overwrite)
    fabric = make_fabric(config)
    ranks = Ranks(fabric)
    if not overwrite and ranks.by_writer(run.is_complete):
        return run, True
    state = State(config, dataset, fabric)
    with run.locked(stop, ranks):
        # Another process may have trained it while this one waited.
        run.written_by(ranks, run.reload)
        if overwrite:
            run.written_by(ranks, run.erase)
        elif run.is_complete():
            return run, True
        known = facts(config, dataset, ranks.world_size, run.state.get("started_utc"))
        run.written_by(ranks, lambda: run.begin(**known))
        last = 0.0

        def watch(step: int, total: int, loss: float | None, images_per_s: float) -> None:
            nonlocal last
            if ranks.is_writer and time.monotonic() - last >= UPDATE_S:
                last = time.monotonic()
                report(Update(config.label, "training", step, total, loss, images_per_s))

        with freed_memory_kept():
            fit(state, run, stop, watch)
    return run, False


def check_same_data(run: Run, dataset: Dataset, overwrite: bool) -> None:
    """Raise DataError where a run that is to be reused or resumed was made from other data."""
    known = run.state.get("dataset_sha256")
    if known is not None and known != dataset.sha256 and not overwrite:
        raise DataError(
            f"the run {run.folder} was trained on other data (hash {known[:12]}, {dataset.name} now has "
            f"{dataset.sha256[:12]}); use another --runs folder, or --overwrite always to train it again"
        )


def facts(config: RunConfig, dataset: Dataset, n_devices: int, started_utc: str | None) -> dict[str, object]:
    """Where a run's numbers come from."""
    sha, dirty = source_revision()
    return {
        "dataset_sha256": dataset.sha256,
        **facts_of(config)._asdict(),
        "git_sha": sha,
        "git_dirty": dirty,
        "dsabench_version": __version__,
        "torch_version": torch.__version__,
        "device": device_name(config.device),
        "n_devices": n_devices,
        "started_utc": started_utc or utc_now(),
    }


def train_and_evaluate(
    config: RunConfig, what: Evaluation, runs: Path, *, overwrite: bool, offline: bool, stop: Stop, report: Report
) -> list[Row]:
    """The rows of a configuration; a run that fails by itself has one row that says so."""
    # Training needs none of what evaluation imports.
    from dsabench.evaluation.evaluate import evaluate, row

    try:
        run, reused = train(config, runs, overwrite=overwrite, offline=offline, stop=stop, report=report)
    except RunFailed:
        report(Update(config.label, "failed", 0, 1, None, None))
        nothing = Score("", float("nan"), {}, None)
        return [row(Run.at(config, runs), layer="", probe="", score=nothing, split=what.split, n=None, status="failed")]
    report(Update(config.label, "evaluating", 1, 1, None, None))
    rows = evaluate(run, what, offline=offline, stop=stop)
    report(Update(config.label, "reused" if reused else "finished", 1, 1, None, None))
    return rows
