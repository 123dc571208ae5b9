"""Slurm, as this project speaks with it: what sbatch is told, what squeue says, and going back into the queue.

Arrays, their scripts and the start of a task are submitit's (the extra `slurm`). A task that is to stop saves where its
loop looks, never inside a signal handler, so submitit's own handler is replaced by `dsabench.signals.Stop`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dsabench.errors import UsageError

# An option of sbatch and its value; True for one that takes none.
Options = Mapping[str, str | bool]

SIGNALS = ("USR1", "USR2")
DEFAULTS: dict[str, str | bool] = {"time": "04:00:00", "signal": "USR1@120"}
# What is said here already, or would have several processes do one run's work.
OURS = (
    "array",
    "error",
    "job-name",
    "no-requeue",
    "nodes",
    "ntasks",
    "open-mode",
    "output",
    "parsable",
    "requeue",
    "wrap",
)
# Any of these asks for a GPU.
GPUS = ("gpus", "gpus-per-node", "gpus-per-task", "gres")
# States in which a job has a node; in all others that squeue knows it waits.
ON_A_NODE = ("RUNNING", "COMPLETING", "CONFIGURING", "STAGE_OUT", "SUSPENDED", "STOPPED", "SIGNALING")
# What a command of Slurm's may take, in seconds; a busy controller takes long.
PATIENCE_S = 60.0


def parse_options(texts: Iterable[str]) -> dict[str, str | bool]:
    """`partition=gpu,gpus=1,time=04:00:00`: long options of sbatch, over the defaults.

    A comma parts options where one follows, so that `nodelist=a1,a2,mem=32G` are two. Raises UsageError for what cannot
    be read, and for options that are not the user's.
    """
    options = dict(DEFAULTS)
    for text in texts:
        for part in re.split(r",(?=[a-z][a-z-]*(?:=|,|$))", text):
            key, equals, value = part.strip().partition("=")
            if not re.fullmatch(r"[a-z][a-z-]*", key) or (equals and not value):
                raise UsageError(
                    f"cannot read --slurm {part!r}: expected options of sbatch, as in: partition=gpu,gpus=1"
                )
            if key in OURS:
                raise UsageError(f"--slurm {key} is not for you to say: each run is one task of an array")
            options[key] = value if equals else True
    signal_of(options)
    return options


def signal_of(options: Options) -> str:
    """The name of the signal that comes before the end of the time; raises UsageError where it cannot be that."""
    name, _, seconds = str(options["signal"]).partition("@")
    # SIGTERM is also what scancel sends, and what was cancelled must not come back.
    if name not in SIGNALS or not seconds.isdecimal():
        raise UsageError(f"--slurm signal must be USR1@SECONDS or USR2@SECONDS, got {options['signal']!r}")
    return name


def wants_gpu(options: Options) -> bool:
    """Whether a task is given a GPU."""
    return any(str(options.get(key, "0")).rpartition(":")[2] != "0" for key in GPUS)


def check_submitit() -> None:
    """Raise UsageError where the extra is not installed."""
    if find_spec("submitit") is None:
        raise UsageError("--launcher slurm needs an extra; install it with: pip install 'dsabench[slurm]'")


def script(options: Options, folder: Path, threads: int, tasks: int, at_once: int | None) -> str:
    """The file that `submit` hands to sbatch, byte for byte; nothing is written."""
    from submitit.slurm.slurm import _make_sbatch_string

    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    told = parameters(options, threads, at_once) | ({"map_count": tasks} if tasks > 1 else {})
    return str(_make_sbatch_string(command=command, folder=folder, **told))


def parameters(options: Options, threads: int, at_once: int | None) -> dict[str, Any]:
    """What submitit is told of a task."""
    told = dict(options)
    cpus = told.pop("cpus-per-task", threads)
    numerical = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "job_name": "dsabench",
        "wckey": None,
        "cpus_per_task": cpus,
        # srun no longer takes it over from sbatch.
        "srun_args": [f"--cpus-per-task={cpus}"],
        **({} if at_once is None else {"array_parallelism": at_once}),
        # A node that dies, and whoever preempts, puts the task back into the queue.
        "additional_parameters": {**told, "requeue": True},
        "setup": [
            *(f"export {name}={threads}" for name in numerical),
            # Until the task listens itself.
            f"export SUBMITIT_PREEMPT_SIGNAL={signal_of(options)}",
        ],
    }


def submit(
    work: Callable[[Any], object],
    tasks: Sequence[object],
    options: Options,
    folder: Path,
    threads: int,
    at_once: int | None,
) -> list[str]:
    """Have Slurm do `work` of each task, as one array; returns the id of each. Raises UsageError where it refuses."""
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UsageError("sbatch and srun are not on the PATH: run this where jobs are submitted, or --launcher local")
    executor = SlurmExecutor(folder)
    executor.update_parameters(**parameters(options, threads, at_once))
    try:
        return [job.job_id for job in executor.map_array(work, tasks)]
    except (FailedJobError, FailedSubmissionError) as error:
        said = str(error).strip().splitlines()
        raise UsageError(f"sbatch refused: {said[-1] if said else error}; what it is told: --dry-run") from error


def in_queue() -> dict[str, str] | None:
    """The states of this user's jobs by id, each task of an array by its own; None where squeue cannot be asked."""
    command = ["squeue", "--noheader", "--array", "--user", str(os.getuid()), "--format", "%i %T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return {job: state for job, _, state in (line.strip().partition(" ") for line in done.stdout.splitlines()) if job}


def requeue() -> bool:
    """Put the task that this process is back into the queue, from where it begins again; False where it cannot be.

    Slurm takes a task that ends when it is preempted for one that is done, so the task says it itself, unless it was
    cancelled: that comes by the same signal. There may be no scontrol on a node, and a site may forbid it.
    """
    array, place = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{place}" if array and place else os.environ.get("SLURM_JOB_ID", "")
    try:
        known = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, timeout=PATIENCE_S)
        if not re.search(r"JobState=(RUNNING|PREEMPTED)\b", known.stdout):
            return False
        subprocess.run(["scontrol", "requeue", job], capture_output=True, timeout=PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True
