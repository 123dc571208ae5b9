"""Where the runs of a comparison are worked on, as flags: here, side by side, or on a cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dsabench.cli.flags import MACHINE, Training, option
from dsabench.errors import UsageError, unknown

if TYPE_CHECKING:
    from dsabench.config.request import Request
    from dsabench.config.run_config import RunConfig
    from dsabench.launch.submission import Cluster
    from dsabench.launch.work import Job
    from dsabench.training.store import Store

LAUNCHERS = ("local", "slurm")


@dataclass(frozen=True)
class Launching:
    """Which machine does the runs, and how many of them at a time."""

    jobs: Annotated[
        str | None,
        option(
            MACHINE,
            "Runs side by side; changes no number. auto: on a GPU, as many as are fastest; measured once.",
            metavar="N",
            show_default="cores / threads; with slurm, all",
        ),
    ] = None
    launcher: Annotated[
        str, option(MACHINE, "local, or slurm: each run a task of an array.", env="DSABENCH_LAUNCHER")
    ] = "local"
    slurm: Annotated[
        list[str] | None,
        option(
            MACHINE,
            "Options of sbatch, such as gpus=1,mem=32G or time=04:00:00; signal=USR1@120 comes before the end.",
            "--slurm",
            metavar="OPTIONS",
        ),
    ] = None

    @property
    def on_slurm(self) -> bool:
        """Whether a cluster does the runs."""
        return self.launcher == "slurm"

    @property
    def count(self) -> int | None:
        """How many runs side by side where a number was said."""
        return None if self.jobs in (None, "auto") else int(str(self.jobs))

    def check(self, *, overwrite: bool) -> None:
        """Raise UsageError for words that do not go together, before anything heavy is imported."""
        if self.launcher not in LAUNCHERS:
            raise unknown("value of --launcher", self.launcher, LAUNCHERS)
        if self.jobs not in (None, "auto") and not (str(self.jobs).isdecimal() and int(str(self.jobs)) >= 1):
            raise UsageError(f"--jobs must be a whole number of at least 1, or auto, got {self.jobs!r}")
        if self.slurm and not self.on_slurm:
            raise UsageError("--slurm is for --launcher slurm")
        if not self.on_slurm:
            return
        from dsabench.launch.slurm import check_submitit, parse_options

        if overwrite:
            raise UsageError("--overwrite always would train again whatever a task goes on with; see: dsabench remove")
        check_submitit()
        parse_options(self.slurm or ())

    def placed(self, request: Request) -> Request:
        """The request as it is for the machine that will do it: a node's GPU cannot be seen from here."""
        from dsabench.launch.slurm import parse_options, wants_gpu

        if not self.on_slurm:
            return request
        device = request.device
        if device == "auto":
            device = "cuda" if wants_gpu(parse_options(self.slurm or ())) else "cpu"
        return replace(request, device=device, elsewhere=True)

    def side_by_side(self, planned: Sequence[RunConfig], store: Store, training: Training) -> int:
        """How many runs are done at a time here."""
        from dsabench.launch.jobs import default_jobs
        from dsabench.launch.sharing import jobs_for
        from dsabench.training.run import say

        if self.jobs == "auto":
            return jobs_for(planned[-1], len(planned), store, training.offline, say)
        return self.count or default_jobs(training.threads, planned[0].device)

    def cluster(self, store: Path, training: Training) -> Cluster:
        """Where and how runs are submitted."""
        from dsabench.launch.slurm import parse_options
        from dsabench.launch.submission import Cluster

        return Cluster(store, parse_options(self.slurm or ()), training.threads, training.offline, self.count)


def print_script(cluster: Cluster, jobs: Sequence[Job], as_json: bool) -> None:
    """The file that sbatch would be given for the runs that are missing."""
    text = cluster.script(len(jobs)) if jobs else ""
    labels = [job.config.label for job in jobs]
    print(json.dumps({"runs": labels, "sbatch": text}) if as_json else text or "every run is there, or submitted")
