"""Many runs on a cluster: each is a task of an array, and whoever asks again takes up what was submitted.

`RUNS/.slurm/JOB.json` names the runs of each array. Nothing else is remembered: a run is done when its rows lie in its
folder, queued or running when squeue says so or somebody claims it, and submitted again where neither is the case.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dsabench.errors import Interrupted, RunFailed
from dsabench.files import read_json, to_json, write_atomic
from dsabench.launch import slurm
from dsabench.launch.array_task import Task, error_path, rows_path, work
from dsabench.launch.slurm import Options
from dsabench.launch.work import Job, Workshop
from dsabench.tables.rows import Row, read_csv
from dsabench.training.lock import is_held
from dsabench.training.run import Run, say
from dsabench.training.store import Store

FOLDER = ".slurm"
# How often Slurm is asked, and how often signals are looked for, in seconds.
ASK_S = 10.0
LOOK_S = 0.2
# A run that ends so often without a result, in one command, is not submitted again.
MOST_TRIES = 3
# A file that another machine has written may be seen late: so often must a run be found nowhere.
MOST_ABSENT = 2

Say = Callable[[str], None]


@dataclass
class Submitted:
    """A job, its run, the ids under which Slurm has it or had it, and how often it was looked for and not found."""

    job: Job
    run: Run
    ids: list[str]
    tries: int = 0
    absent: int = 0
    state: str = ""


@dataclass
class Cluster:
    """Where and how runs are submitted; `at_once` bounds how many of an array run at one time."""

    store: Path
    options: Options
    threads: int
    offline: bool
    at_once: int | None = None
    ask_s: float = ASK_S
    tell: Say = field(default=say)

    @property
    def folder(self) -> Path:
        """Scripts, logs and submitit's files."""
        return self.store.absolute() / FOLDER

    def script(self, runs: int) -> str:
        """What sbatch is given for so many runs."""
        return slurm.script(self.options, self.folder, self.threads, runs, self.at_once)


def run_on(cluster: Cluster, jobs: Sequence[Job], shop: Workshop) -> list[Row]:
    """The rows of all jobs in their order; submits what is missing, and waits.

    Raises Interrupted where a signal came (the jobs stay with Slurm), RunFailed where a task cannot be done or ends
    again and again without a result.
    """
    places, told = submitted(cluster, jobs, shop.store), ""
    with shop.stop.deferred():
        while True:
            look(places)
            missing = [place for place in places if place.state == "missing"]
            if missing:
                submit(cluster, missing)
            if (now := summary(places)) != told:
                cluster.tell(told := now)
            if all(place.state in ("done", "failed") for place in places):
                return [row for place in places for row in read_csv(rows_path(place.run, place.job))]
            wait(cluster, places, shop)


def to_submit(cluster: Cluster, jobs: Sequence[Job], store: Store) -> list[Job]:
    """The jobs that `run_on` would submit now."""
    places = submitted(cluster, jobs, store)
    look(places)
    return [place.job for place in places if place.state == "missing"]


def submitted(cluster: Cluster, jobs: Sequence[Job], store: Store) -> list[Submitted]:
    """The jobs with the ids under which they were submitted before."""
    known = submissions(cluster.folder)
    return [Submitted(job, run := store.run(job.config), known.get(key(run, job), [])) for job in jobs]


def look(places: Sequence[Submitted]) -> None:
    """Enter the state of each job: done, failed, running, queued, or missing where it has to be submitted."""
    # Asked before the files are looked at: what has left the queue by then has left its rows.
    queue = slurm.in_queue()
    for place in places:
        if (path := error_path(place.run, place.job)).exists():
            reason = path.read_text(encoding="utf-8")
            path.unlink()
            raise RunFailed(f"{place.job.config.label}: {reason}")
        place.state = state_of(place, queue)
        place.absent = place.absent + 1 if place.state == "absent" else 0
        if place.state == "absent" and (place.absent >= MOST_ABSENT or not place.ids):
            place.state = "missing"


def state_of(place: Submitted, queue: dict[str, str] | None) -> str:
    """Where a job stands; `absent` where nothing is known of it."""
    rows = rows_path(place.run, place.job)
    if rows.exists():
        return "failed" if any(row.status == "failed" for row in read_csv(rows)) else "done"
    states = [state for one in place.ids if (state := (queue or {}).get(one))]
    if any(state in slurm.ON_A_NODE for state in states) or is_held(place.run.folder):
        return "running"
    # Where Slurm does not answer, what was submitted is believed to be there.
    return "queued" if states or (queue is None and place.ids) else "absent"


def submit(cluster: Cluster, missing: Sequence[Submitted]) -> None:
    """Submit these jobs as one array, and write down which of its tasks does which."""
    for place in missing:
        if place.tries == MOST_TRIES:
            logs = ", ".join(str(cluster.folder / f"{one}_0_log.err") for one in place.ids[-1:])
            raise RunFailed(
                f"{place.job.config.label}: {MOST_TRIES} tasks ended without a result; the last one: {logs}"
            )
    tasks = [Task(place.job, cluster.store.absolute(), cluster.offline) for place in missing]
    ids = slurm.submit(work, tasks, cluster.options, cluster.folder, cluster.threads, cluster.at_once)
    names = {key(place.run, place.job): one for place, one in zip(missing, ids, strict=True)}
    write_atomic(cluster.folder / f"{ids[0].partition('_')[0]}.json", to_json(names))
    for place, one in zip(missing, ids, strict=True):
        place.ids.append(one)
        place.tries += 1
        place.absent, place.state = 0, "queued"


def submissions(folder: Path) -> dict[str, list[str]]:
    """The ids under which each job was ever submitted, by `key`, in order."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: int(path.stem)):
        for name, one in read_json(path).items():
            found.setdefault(name, []).append(str(one))
    return found


def key(run: Run, job: Job) -> str:
    """What tells one job from another in a store."""
    return f"{run.config.run_id}-{rows_path(run, job).stem}"


def summary(places: Sequence[Submitted]) -> str:
    """`8 runs on Slurm: 2 done, 4 running, 2 queued`."""
    # Seen nowhere for a moment: it has ended, and its rows are on their way.
    states = Counter("running" if place.state == "absent" else place.state for place in places)
    counts = [f"{states[name]} {name}" for name in ("done", "failed", "running", "queued") if states[name]]
    return f"{len(places)} runs on Slurm: {', '.join(counts)}"


def wait(cluster: Cluster, places: Sequence[Submitted], shop: Workshop) -> None:
    """Let some time pass; raises Interrupted where a signal came."""
    end = time.monotonic() + cluster.ask_s
    while time.monotonic() < end:
        if shop.stop.requested:
            under_way = [place.ids[-1] for place in places if place.state in ("queued", "running") and place.ids]
            left = sorted({one.partition("_")[0] for one in under_way})
            raise Interrupted(
                f"{summary(places)}; they stay there, and the same command takes them up; "
                f"what ends them: scancel {' '.join(left)}",
                shop.stop.exit_code,
            )
        time.sleep(min(LOOK_S, cluster.ask_s))
