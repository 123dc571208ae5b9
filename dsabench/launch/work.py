"""The work of one job: a configuration becomes a run, and the run becomes rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

from dsabench.config.eval_config import EvalConfig
from dsabench.config.run_config import RunConfig
from dsabench.data import Datasets
from dsabench.data.dataset import Dataset
from dsabench.errors import DataError, RunFailed
from dsabench.evaluation.encoder import run_columns, run_encoder
from dsabench.evaluation.evaluate import evaluate
from dsabench.progress import Update
from dsabench.signals import Stop
from dsabench.tables.rows import SCHEMA_VERSION, Row
from dsabench.training.beginning import facts
from dsabench.training.cost import freed_memory_kept
from dsabench.training.events import event_files, unheard
from dsabench.training.loop import Track, fit
from dsabench.training.machine import prepare
from dsabench.training.ranks import Ranks, make_fabric
from dsabench.training.run import Run
from dsabench.training.state import State
from dsabench.training.store import Store

Report = Callable[[Update], None]

# Updates of a run come at most so often, in seconds.
UPDATE_S = 0.1


@dataclass(frozen=True)
class Workshop:
    """Where work is done: the run store, the data sets, who may stop it, and who is told how far it has come."""

    store: Store
    datasets: Datasets
    stop: Stop
    report: Report


@dataclass(frozen=True)
class Job:
    """One run to train, unless it is there already, and to evaluate. `tuning` says how its options were chosen.

    With `tensorboard` its log is written as event files too, while it trains.
    """

    config: RunConfig
    what: EvalConfig
    overwrite: bool = False
    tuning: str = ""
    tensorboard: bool = False

    def rows(self, shop: Workshop) -> list[Row]:
        """The rows of the run; one that fails by itself, or whose evaluation fails, has one row that says so."""
        label = self.config.label
        try:
            run, reused = train(self.config, shop, overwrite=self.overwrite, tensorboard=self.tensorboard)
            shop.report(Update(label, "evaluating", 1, 1, None, None))
            rows = evaluate(run_encoder(run, shop.datasets), self.what, shop.datasets, stop=shop.stop)
        except RunFailed as error:
            shop.report(Update(label, "failed", 0, 1, None, None))
            return [failed_row(shop.store.run(self.config), self.what, str(error), self.tuning)]
        shop.report(Update(label, "reused" if reused else "finished", 1, 1, None, None))
        return [replace(row, tuning=self.tuning) for row in rows]


def validate(config: RunConfig, shop: Workshop, *, elsewhere: bool = False) -> None:
    """Build everything that a run needs, so that what cannot be is refused before anything is written.

    What another machine is to do is built on this one's processor.
    """
    shop.store.run(config)
    if elsewhere:
        config = config.model_copy(update={"device": "cpu", "precision": "fp32", "compile": None})
    State(config, shop.datasets.load(config.data), make_fabric(config))


def train(
    config: RunConfig,
    shop: Workshop,
    *,
    overwrite: bool = False,
    tensorboard: bool = False,
    track: Track | None = None,
) -> tuple[Run, bool]:
    """The finished run of a configuration and whether it was there already; trains what is missing of it.

    What `track` measures at the end of an epoch is entered in the log, and is no part of the run's identity.

    Raises DataError where the run was trained on other data, RunFailed and Interrupted as `fit` does.
    """
    prepare(config.threads, deterministic=config.deterministic and config.device == "cuda")
    dataset = shop.datasets.load(config.data)
    run = shop.store.run(config)
    check_same_data(run, dataset, overwrite)
    fabric = make_fabric(config)
    ranks = Ranks(fabric)
    with ranks.together():
        if not overwrite and ranks.by_writer(run.is_complete):
            ranks.by_writer(lambda: run.tidy(shop.stop))
            return run, True
        state = State(config, dataset, fabric)
    with ranks.together(), shop.stop.deferred(), run.locked(shop.stop, ranks):
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
                shop.report(Update(config.label, "training", step, total, loss, images_per_s))

        events = event_files(run.folder / "tensorboard") if tensorboard and ranks.is_writer else nullcontext(unheard)
        with freed_memory_kept(), events as told:
            fit(state, run, shop.stop, watch, told, track)
    return run, False


def check_same_data(run: Run, dataset: Dataset, overwrite: bool) -> None:
    """Raise DataError where a run that is to be reused or resumed was made from other data."""
    known = run.state.get("dataset_sha256")
    if known is not None and known != dataset.sha256 and not overwrite:
        raise DataError(
            f"the run {run.folder} was trained on other data (hash {known[:12]}, {dataset.name} now has "
            f"{dataset.sha256[:12]}); use another --runs folder, or --overwrite always to train it again"
        )


def failed_row(run: Run, what: EvalConfig, note: str, tuning: str) -> Row:
    """The one row of a run that has no value, and why."""
    data = what.data or run.config.data
    return Row(
        schema_version=SCHEMA_VERSION,
        dataset=data.label,
        dataset_sha256=run.state["dataset_sha256"],
        split=what.split,
        n=None,
        layer="",
        probe="",
        probe_version="",
        probe_params="{}",
        metric="",
        value=None,
        higher_is_better=None,
        status="failed",
        note=note,
        tuning=tuning,
        **run_columns(run),  # type: ignore[arg-type]
    )
