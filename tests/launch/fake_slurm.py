"""A Slurm without a cluster: `sbatch`, `srun`, `squeue` and `scontrol` as far as this project speaks with them.

Called under those names. Tasks are processes of this machine; `$FAKE_SLURM` holds a file with its state for each of
those in the queue. Needs the standard library alone.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

COMMANDS = ("sbatch", "srun", "squeue", "scontrol")


def install(folder: Path) -> None:
    """Put the commands into a folder for the PATH."""
    folder.mkdir(parents=True)
    for name in COMMANDS:
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -S {__file__} {name} "$@"\n')
        command.chmod(0o755)


def sbatch(folder: Path, script: str) -> None:
    """Start the tasks of a script, each watched by a process of its own."""
    text = Path(script).read_text()
    job = len(list(folder.glob("*.sbatch"))) + 1
    (folder / f"{job}.sbatch").write_text(text)
    array = re.search(r"^#SBATCH --array=0-(\d+)", text, re.MULTILINE)
    for task in range(int(array[1]) + 1) if array else [None]:
        name = str(job) if task is None else f"{job}_{task}"
        (folder / name).write_text("PENDING")
        command = [sys.executable, "-S", __file__, "watch", script, str(job), "" if task is None else str(task)]
        subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"Submitted batch job {job}")


def watch(folder: Path, script: str, job: str, task: str) -> None:
    """Run a task, and run it again for as long as it was put back into the queue."""
    name = f"{job}_{task}" if task else job
    # Of an array each task is a job with an id of its own, too.
    environment = {**os.environ, "SLURM_JOB_ID": str(1000 * int(job) + int(task)) if task else job}
    if task:
        environment |= {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": task}
    output = re.search(r"^#SBATCH --output=(.*)$", Path(script).read_text(), re.MULTILINE)
    assert output
    log = output[1].replace("%A_%a", name).replace("%j", name)
    again = True
    while again:
        (folder / name).write_text("RUNNING")
        with open(log, "a") as file:
            subprocess.run(["bash", script], env=environment, stdout=file, stderr=file, check=False)
        again = (folder / f"{name}.requeue").exists()
        (folder / f"{name}.requeue").unlink(missing_ok=True)
    (folder / name).unlink()


def srun(*words: str) -> None:
    """Become the command behind the options."""
    rest = list(words)
    while rest[0].startswith("-"):
        takes_value = rest.pop(0) in ("--output", "--error")
        rest = rest[1:] if takes_value else rest
    os.environ["SLURM_PROCID"] = "0"
    os.execvp(rest[0], rest)


def squeue(folder: Path) -> None:
    """A line a task."""
    for path in sorted(folder.iterdir()):
        if not path.suffix:
            print(path.name, path.read_text())


def scontrol(folder: Path, verb: str, *rest: str) -> None:
    """Say how a task is (`show job ID`), or put it back into the queue (`requeue ID`)."""
    name = rest[-1]
    if not (folder / name).exists():
        sys.exit(1)
    if verb == "show":
        print(f"   JobState={(folder / name).read_text()} Reason=None")
    else:
        (folder / f"{name}.requeue").touch()


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    queue = Path(os.environ["FAKE_SLURM"])
    if what == "srun":
        srun(*given)
    elif what == "squeue":
        squeue(queue)
    else:
        {"sbatch": sbatch, "scontrol": scontrol, "watch": watch}[what](queue, *given)
