"""One task of an array: a run is trained and evaluated on some node, and its rows are left in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsabench import __version__
from dsabench.data import Datasets
from dsabench.errors import DsabenchError, Interrupted
from dsabench.files import sha256_bytes, write_atomic
from dsabench.launch.slurm import requeue
from dsabench.launch.work import Job, Workshop
from dsabench.progress import ProgressDisplay, make_console
from dsabench.signals import Stop
from dsabench.tables.rows import write_csv
from dsabench.training.run import Run, say
from dsabench.training.store import Store


@dataclass(frozen=True)
class Task:
    """A job, and where its run is kept."""

    job: Job
    store: Path
    offline: bool


def work(task: Task) -> None:
    """Do a task; told that its time is over, it saves, goes back into the queue and exits.

    It goes back only where it trained at least a step: what cannot get on would be in the queue forever.
    """
    stop = Stop().listen(ends_at_once=False)
    store = Store(task.store)
    run = store.run(task.job.config)
    before = steps_of(run)
    try:
        with ProgressDisplay(make_console(stderr=True), 1) as display:
            rows = task.job.rows(Workshop(store, Datasets(offline=task.offline), stop, display))
    except Interrupted as error:
        run.reload()
        if steps_of(run) <= before:
            say("the time ended before a step: not requeued; ask for more with --slurm time=HH:MM:SS")
        elif not requeue():
            say("cancelled, or scontrol could not requeue it; the compare command submits it again")
        # Nothing went wrong, and submitit would take an exception for that.
        raise SystemExit(error.exit_code) from error
    except DsabenchError as error:
        write_atomic(error_path(run, task.job), str(error))
        raise
    write_csv(rows, rows_path(run, task.job))


def steps_of(run: Run) -> int:
    """How many steps of a run are saved."""
    return int(run.state.get("step", 0))


def rows_path(run: Run, job: Job) -> Path:
    """Where a task leaves the rows of a job: with the run, by what was measured and with which version."""
    asked = sha256_bytes(repr((job.what, job.tuning, __version__)).encode())[:16]
    return run.folder / "rows" / f"{asked}.csv"


def error_path(run: Run, job: Job) -> Path:
    """Where it lies why a task could not do a job at all."""
    return rows_path(run, job).with_suffix(".error")
