"""What commands print, and the words of theirs that must be checked before anything heavy is imported."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from dsabench.config.run_config import RunConfig
    from dsabench.data import Datasets
    from dsabench.data.dataset import Dataset
    from dsabench.progress import ProgressDisplay
    from dsabench.signals import Stop
    from dsabench.training.store import Store


def console() -> Console:
    """The console for data, on stdout."""
    from dsabench.progress import make_console

    return make_console(stderr=False)


def progress(total: int, quiet: bool, stop: Stop) -> ProgressDisplay:
    """The display of progress, on stderr; a command that is ended at once leaves the terminal as it was."""
    from dsabench.progress import ProgressDisplay, make_console

    display = ProgressDisplay(make_console(stderr=True), total, quiet=quiet)
    stop.before_exit = display.give_back
    return display


def limit(threads: int, offline: bool) -> None:
    """Bound the threads of every numerical library, and its downloads, before the first of them is imported."""
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[name] = str(threads)


def warn(planned: Sequence[RunConfig], train_images: int, jobs: int | None = None) -> None:
    """Say on stderr what was asked for and is hardly meant."""
    from dsabench.config.cautions import cautions
    from dsabench.launch.jobs import available_cores

    for caution in cautions(planned, train_images, jobs, available_cores()):
        print(caution, file=sys.stderr)


def say_read(dataset: Dataset, config: RunConfig, store: Store, quiet: bool) -> None:
    """What was read, before `config` and its like are trained on it, on stderr."""
    from dsabench.training.run import say

    if quiet:
        return
    say("\n".join([f"{config.data.label}: {dataset.notes[0]}", *dataset.notes[1:]]))
    if store.has_namesake(config):
        say(f"other images in {store.path} are called {config.data.label} too: --data-name NAME tells them apart")


def print_configs(planned: Sequence[RunConfig]) -> None:
    """The resolved configurations, on stderr."""
    from dsabench.files import to_toml
    from dsabench.training.run import say

    for one in planned:
        say(f"# {one.label}, run {one.run_id}\n{to_toml(one.model_dump())}")


def print_plan(planned: Sequence[RunConfig], store: Store, datasets: Datasets, jobs: int, as_json: bool) -> None:
    """What would be trained, and what it would take with so many runs side by side."""
    from dsabench.launch.jobs import default_jobs
    from dsabench.training.estimate import estimates, total

    found, first = estimates(planned, store, datasets), planned[0]
    whole = total(found, jobs, default_jobs(first.threads, first.device), store.path, first.device)
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
    else:
        from dsabench.report import print_plans

        print_plans(console(), found, whole)
    for warning in whole.warnings():
        print(warning, file=sys.stderr)
