"""What commands print, and the words of theirs that must be checked before anything heavy is imported."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dsabench.errors import several

# Names of tables that spell every arm out have at most so many characters.
LONGEST_NAME = 48
# In characters: wider than any table.
_WIDE = 10_000

if TYPE_CHECKING:
    from rich.console import Console

    from dsabench.config.eval_config import EvalConfig
    from dsabench.config.run_config import RunConfig
    from dsabench.data import Datasets
    from dsabench.data.dataset import Dataset
    from dsabench.progress import ProgressDisplay
    from dsabench.signals import Stop
    from dsabench.training.run import Run
    from dsabench.training.store import Store


def console(*, whole_lines: bool = False) -> Console:
    """The console for data, on stdout; with `whole_lines` as wide as a table wants where that is no terminal."""
    from dsabench.progress import make_console

    made = make_console(stderr=False)
    if whole_lines and not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        made.width = _WIDE
    return made


def progress(total: int, quiet: bool, stop: Stop, saved: Callable[[], Sequence[str]] = tuple) -> ProgressDisplay:
    """The display of progress, on stderr; a command that is ended at once leaves the terminal as it was, and says what
    is `saved` of the runs under way."""
    from dsabench.progress import ProgressDisplay, make_console

    display = ProgressDisplay(make_console(stderr=True), total, quiet=quiet)

    def leave() -> None:
        display.give_back()
        # From within a signal handler, where a stream may be in use.
        os.write(2, at_once(saved()).encode())

    stop.before_exit = leave
    return display


def at_once(saved: Sequence[str]) -> str:
    """What a second Ctrl-C leaves: which steps are `saved`, a text a run, and how to go on."""
    known = f"; saved before: {several(saved, ', ')}" if saved else ""
    return (
        f"dsabench: stopped at once, nothing more was saved{known}; the same command goes on from the last checkpoint\n"
    )


def limit(threads: int, offline: bool) -> None:
    """Bound the threads of every numerical library, and its downloads, before the first of them is imported."""
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[name] = str(threads)


def warn(planned: Sequence[RunConfig], dataset: Dataset, jobs: int | None = None) -> None:
    """Say on stderr what was asked for and is hardly meant."""
    from dsabench.config.cautions import cautions
    from dsabench.data.data_config import USERS_OWN
    from dsabench.data.notes import in_colour
    from dsabench.launch.jobs import available_cores

    # Of a data set that comes along its views have been chosen for what it shows.
    colour = planned[0].data.kind in USERS_OWN and in_colour(dataset.train)
    for caution in cautions(planned, len(dataset.train), jobs, available_cores(), colour=colour):
        print(caution, file=sys.stderr)


def say_read(dataset: Dataset, config: RunConfig, store: Store, quiet: bool) -> None:
    """What was read, before `config` and its like are trained on it, on stderr."""
    from dsabench.training.run import say

    if quiet:
        return
    say("\n".join([f"{config.data.label}: {dataset.notes[0]}", *dataset.notes[1:]]))
    if store.has_namesake(config):
        say(f"other images in {store.path} are called {config.data.label} too: --data-name NAME tells them apart")


def say_unread(run: Run, data_dir: Path) -> None:
    """Say of a run's data, where they lie in no folder, that a folder does not change them, on stderr."""
    from dsabench.cli.mistakes import images_in
    from dsabench.data.data_config import WITHOUT_FOLDER
    from dsabench.training.run import say

    data = run.config.data
    if data.kind in WITHOUT_FOLDER:
        words = f"{run.config.label} is of {data.label}, which --data-dir {data_dir} does not change"
        say(f"warning: {words}; {images_in(data_dir)}")


def say_added(asked_for: EvalConfig, measured: EvalConfig) -> None:
    """What is measured beside what was asked for, on stderr."""
    from dsabench.evaluation.words import asked
    from dsabench.training.run import say

    there = asked(asked_for.probes)
    if added := dict.fromkeys(one.name for one in asked(measured.probes) if one not in there):
        say(f"measured too, for the verdict: {', '.join(added)} (see --primary and --guard)")


def table_name(title: str, arms: Sequence[str], setting: Sequence[str] = ()) -> str:
    """The name of a table that was given none: what it is of and its arms, the first alone where that would be long,
    and the `setting` that sets it apart from another table of them."""
    from dsabench.files import sha256_bytes, slug

    name = slug(whole := f"{title}-{'-vs-'.join(arms)}")
    if len(whole) > LONGEST_NAME:
        # Of the rest a hash tells tables apart.
        first, rest = re.sub(r"\[[^\]]*\]", "", arms[0]), len(arms) - 1
        words = [title, first, *([f"vs-{rest}-{'other' if rest == 1 else 'others'}"] if rest else [])]
        name = f"{slug('-'.join(words))}-{sha256_bytes(whole.encode())[:6]}"
    return str(Path("results") / "-".join([name, *map(slug, setting)]))


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
        from dsabench.config.spec import brief_names
        from dsabench.report import print_legend, print_plans

        names = brief_names(dict.fromkeys(str(one.spec) for one in planned))
        called = [f"{names[str(one.spec)]} s{one.seed}" for one in planned]
        shown = [replace(one, run=name) for one, name in zip(found, called, strict=True)]
        # Above, for what all runs take stands at the end.
        print_legend(console(), names)
        print_plans(console(), shown, whole)
    for warning in whole.warnings():
        print(warning, file=sys.stderr)
