"""Processor time until something happens: help, a refused name, the first step; as multiples of importing torch.

python -m benchmarks.speed.startup [--json] [--rounds 5]

Each candidate is a process of its own, user and system time of it and its children; wall time would measure the disk.
The first step is that of `dsabench pretrain --method simclr --dataset digits --device cpu`: the process ends where the
step would begin, with the data read, the modules built and the first batch drawn.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.speed.measure import Report, arguments, spread

TORCH = "import torch"

COMMAND = """
import sys
sys.argv[0] = "dsabench"
from dsabench.cli import main
main()
"""

FIRST_STEP = """
import os, sys
from dsabench.training import loop
loop.step = lambda *_: os._exit(0)
sys.argv[0] = "dsabench"
from dsabench.cli import main
main()
"""


def main() -> None:
    parser = arguments(__doc__.split("\n")[0], rounds=5)
    options = parser.parse_args()
    rounds = 1 if options.smoke else options.rounds
    report = Report(
        "startup",
        {"threads": options.threads, "rounds": rounds},
        verdict="{name}: {ratio} times the processor time of import torch",
    )
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    with TemporaryDirectory() as folder:
        candidates = {"torch": ([TORCH], 0), **of_ours(Path(folder))}
        times: dict[str, list[float]] = {name: [] for name in candidates}
        # The first round fills the caches of the disk, and those of compiled modules.
        for counted in range(rounds + 1):
            for name, (command, code) in candidates.items():
                seconds = processor_seconds(command, code, environment)
                if counted:
                    times[name].append(seconds)
    for name, values in times.items():
        report.figures.append({"what": name, "processor_s": spread(values)})
        if name != "torch":
            report.ratios[name] = spread([own / torch for own, torch in zip(values, times["torch"], strict=True)])
    report.print(options.json)


def of_ours(folder: Path) -> dict[str, tuple[list[str], int]]:
    """Program, arguments and exit code of what is measured."""
    training = ["pretrain", "--dataset", "digits", "--device", "cpu", "--quiet", "--runs", str(folder)]
    return {
        "help": ([COMMAND, "--help"], 0),
        "wrong_name": ([COMMAND, *training, "--method", "simcrl"], 2),
        "first_step": ([FIRST_STEP, *training, "--method", "simclr"], 0),
    }


def processor_seconds(program: list[str], code: int, environment: dict[str, str]) -> float:
    """User and system time of a Python program; raises RuntimeError where it ends with another code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", *program], env=environment, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != code:
        raise RuntimeError(f"{program[1:]} ended with {done.returncode}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
