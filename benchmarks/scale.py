"""How the N x N terms of `dsa-nested` grow with the batch: adds the sizes that it is given to results/scale.csv.

python -m benchmarks.scale 256,512,1024,2048,4096,8192

Each size is measured in a process of its own, on one thread: processor time, which a busy machine does not change
much, and the memory that the terms add. What they say of large batches is in benchmarks/scale.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.speed.dsa_cost import terms_of
from dsabench.files import write_atomic
from dsabench.training.cost import peak_memory_mb, reset_peak_memory

MEASURED = Path("results/scale.csv")
# Up to this size a second call is what counts: the first asks the system for its memory.
CALLED_TWICE = 2048


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sizes", nargs="?", help="as in 256,512")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one)))
    else:
        measure([int(size) for size in options.sizes.split(",")])


def measure(sizes: list[int]) -> None:
    """Enter these sizes into the table, each from a process of its own."""
    known = {int(row["images"]): row for row in rows()} if MEASURED.exists() else {}
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.scale", "--one", str(size)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        known[size] = {"images": str(size), **{name: f"{value:.4g}" for name, value in found.items()}}
        print(known[size], flush=True)
    lines = [",".join(known[size].values()) for size in sorted(known)]
    write_atomic(MEASURED, "\n".join(["images,cpu_s,memory_mb", *lines]) + "\n")


def rows() -> list[dict[str, str]]:
    """What was measured."""
    with MEASURED.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def one(images: int) -> dict[str, float]:
    """Processor seconds of the terms, forward and backward, and the megabytes that they add."""
    torch.set_num_threads(1)
    terms_of(64, "cpu")()
    work, place = terms_of(images, "cpu"), torch.device("cpu")
    reset_peak_memory(place)
    before = peak_memory_mb(place)
    begun = time.process_time()
    work()
    seconds = time.process_time() - begun
    memory = peak_memory_mb(place) - before
    if images <= CALLED_TWICE:
        begun = time.process_time()
        work()
        seconds = time.process_time() - begun
    return {"cpu_s": seconds, "memory_mb": memory}


if __name__ == "__main__":
    main()
