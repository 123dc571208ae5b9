"""Everything that one GPU is wanted for, in the order of its worth; go on with it by saying the same again.

    make gpu FOLDER=/data/gpu                      # a GPU, no network: FOLDER/wheels and FOLDER/cifar-10-batches-py
    make gpu OPTIONS="--device cpu --smoke"        # any machine
    python -m benchmarks.gpu --data FOLDER --out results/gpu [--minutes 25] [--device cpu --smoke]

What is done, and about what it costs on one GPU of the last years (estimates: nothing here has run on one):

    tests      the tests marked `cuda`: every method, bf16, determinism, compiling, resuming      4 minutes
    pipeline   whole steps beside lightly's pipeline with 0, 4, 8 and 16 workers                  3 minutes
    dsa        what DSA costs: shares of a step, growth with N                                    2 minutes
    step       where a step's time goes, bf16 and other choices                                   2 minutes
    cifar10    ResNet-18 at 32 px, simclr, byol and barlow_twins, plain and with DSA, 200 epochs;
               seed by seed, so that what is cut leaves whole pairs    6 runs a seed, 1.5 to 3 hours a seed

Each piece writes its output to `--out` when it is done, and is not done again. The last one is a comparison like any
other: it is told to stop when the time is over, saves, and goes on with the next call; its table is of the seeds that
are whole. `--smoke` takes the smallest sizes: it shows that all of it runs, and measures nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

METHODS = ("simclr", "byol", "barlow_twins")
SPECS = [spec for method in METHODS for spec in (method, f"{method}+dsa")]
# How long a command that was told to stop may take to save, in seconds.
SAVING_S = 60.0
STOPPED = 143


@dataclass(frozen=True)
class Piece:
    """A command, whose output is kept as `name.txt` when it has ended well; `env` goes with it."""

    name: str
    command: Sequence[str]
    env: dict[str, str]


def main() -> int:
    """Do what is left; 0 where all of it is done or saved, 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="where CIFAR-10 lies")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seeds", default="0-5")
    parser.add_argument("--minutes", type=float, help="save and stop after so many")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes: shows that it runs, measures nothing")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    options.out.mkdir(parents=True, exist_ok=True)
    failed = [piece.name for piece in pieces(options) if not done(piece, options.out, end)]
    for name in failed:
        print(f"{name}: failed, see {options.out / name}.log", flush=True)
    return 1 if failed else 0


def pieces(options: argparse.Namespace) -> list[Piece]:
    """What there is to do, in the order of its worth."""
    python, device = sys.executable, ["--device", options.device]
    speed = [*device, *(["--smoke"] if options.smoke else [])]
    precision = ["--precision", "bf16" if options.device == "cuda" else "fp32"]
    workers = ["--workers", "0" if options.smoke else "0,4,8,16"]
    tests = [python, "-m", "pytest", "-q", "-m", "cuda", "tests/cuda"]
    if options.smoke:
        # All that is left out here is looked at by the other tests.
        tests += ["-k", "simclr-fp32 or byol-bf16 or probe or views or evaluated"]
    found = [
        Piece("tests", tests, {"CUDA_TESTS_DEVICE": options.device}),
        Piece("pipeline", [python, "-m", "benchmarks.speed.end_to_end", *speed, *precision, *workers], {}),
        Piece("dsa", [python, "-m", "benchmarks.speed.dsa_cost", *speed], {}),
        Piece("step", [python, "-m", "benchmarks.speed.step", *speed], {}),
    ]
    # Seed by seed, in one table that grows.
    first, last = (int(seed) for seed in (options.seeds.split("-") * 2)[:2])
    for seed in range(first, last + 1):
        seeds = f"{first}-{seed}" if seed > first else str(first)
        found.append(Piece(f"cifar10-seed{seed}", comparison(options, seeds), {}))
    return found


def comparison(options: argparse.Namespace, seeds: str) -> list[str]:
    """The command of the suite on these seeds."""
    common = ["--seeds", seeds, "--device", options.device, "--runs", str(options.runs), "--overwrite", "tables"]
    command = [sys.executable, "-m", "dsabench.cli", "compare"]
    if options.smoke:
        small = ["--dataset", "synthetic", "--image-size", "8", "--backbone", "resnet8w16", "--batch-size", "64"]
        return [*command, *SPECS[:2], *common, *small, "--epochs", "1", "--output", str(options.out / "smoke")]
    data = ["--dataset", "cifar10", "--data-dir", str(options.data), "--offline", "--backbone", "resnet18"]
    training = ["--epochs", "200", "--batch-size", "512", "--jobs", "auto", "--output", str(options.out / "cifar10")]
    return [*command, *SPECS, *common, *data, *training]


def done(piece: Piece, out: Path, end: float) -> bool:
    """Do a piece unless it is done, or the time is over; False where it failed. What is stopped has not failed."""
    result, log = out / f"{piece.name}.txt", out / f"{piece.name}.log"
    if result.exists() or time.monotonic() >= end:
        print(f"{piece.name}: {'done before' if result.exists() else 'not begun'}", flush=True)
        return True
    begun = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(piece.command, stdout=file, stderr=file, env={**os.environ, **piece.env})
        try:
            code = process.wait(timeout=None if end == float("inf") else end - begun)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            code = stopped(process)
    took = time.monotonic() - begun
    if code == STOPPED:
        print(f"{piece.name}: stopped after {took:.0f} s, saved; the same command goes on with it", flush=True)
        return True
    if code == 0:
        log.replace(result)
        print(f"{piece.name}: done in {took:.0f} s, {result}", flush=True)
    return code == 0


def stopped(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process that was told to stop; what does not save is ended."""
    try:
        process.wait(timeout=SAVING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return STOPPED


if __name__ == "__main__":
    sys.exit(main())
