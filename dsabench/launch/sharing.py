"""How many runs share an accelerator: small ones leave it idle, and side by side they may be faster together.

Measured once for each kind of run and device, and remembered in the store (`.sharing.json`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from dsabench import rng
from dsabench.config.run_config import RunConfig
from dsabench.data import Datasets
from dsabench.errors import DataError
from dsabench.files import canonical_json, read_json, sha256_bytes, to_json, write_atomic
from dsabench.launch.jobs import default_jobs
from dsabench.training.machine import prepare
from dsabench.training.price import cost_identity
from dsabench.training.provenance import device_name
from dsabench.training.ranks import make_fabric
from dsabench.training.state import State
from dsabench.training.step import batches, step
from dsabench.training.store import Store

NOTE = ".sharing.json"
COUNTS = (1, 2, 3, 4, 6, 8)
# One more at a time has to give so much more of all together: a run that takes twice as long is no gain for nothing.
LEAST_GAIN = 1.1
WARM_STEPS = 10
MEASURED_S = 5.0

Rate = Callable[[RunConfig, int, bool], float]


def jobs_for(config: RunConfig, runs: int, store: Store, offline: bool, tell: Callable[[str], None]) -> int:
    """How many runs like `config` to do side by side, of so many; on a CPU what its cores give, on an accelerator what
    is fastest, measured where it is not known, and said."""
    if config.device == "cpu":
        return default_jobs(config.threads, config.device)
    path = store.path / NOTE
    known = remembered(path)
    key = sha256_bytes(canonical_json({"device": device_name(config.device), **cost_identity(config)}).encode())[:16]
    if key not in known:
        found, rates = fastest(config, runs, offline, rate)
        tell(
            "side by side on one accelerator: "
            + ", ".join(f"{count}: {images:,.0f} images/s" for count, images in rates.items())
            + f"; --jobs {found}"
        )
        known[key] = found
        write_atomic(path, to_json(known))
    return min(known[key], runs)


def remembered(path: Path) -> dict[str, int]:
    """What was measured before; nothing where the file is missing or damaged, for it can be measured again."""
    try:
        return {key: int(value) for key, value in read_json(path).items()}
    except (DataError, TypeError, ValueError):
        return {}


def fastest(config: RunConfig, runs: int, offline: bool, measure: Rate) -> tuple[int, dict[int, float]]:
    """The count after which one more gives too little, and the images a second of all together for each that was tried.

    A count that does not fit into memory gives 0.
    """
    rates: dict[int, float] = {}
    best = 1
    for count in (count for count in COUNTS if count <= max(1, runs)):
        rates[count] = measure(config, count, offline)
        if count > 1 and rates[count] < LEAST_GAIN * rates[best]:
            break
        best = count
    return best, rates


def rate(config: RunConfig, count: int, offline: bool) -> float:
    """Images a second that so many processes train together; 0 where one of them did not live to say so."""
    context = get_context("spawn")
    pipes = [context.Pipe() for _ in range(count)]
    team = [context.Process(target=train_a_while, args=(theirs, config, offline), daemon=True) for _, theirs in pipes]
    for process, (_, theirs) in zip(team, pipes, strict=True):
        process.start()
        theirs.close()
    ours = [pipe for pipe, _ in pipes]
    try:
        for pipe in ours:
            pipe.recv()
        # All of them are warm, and begin together.
        for pipe in ours:
            pipe.send(MEASURED_S)
        return float(sum(pipe.recv() for pipe in ours))
    except (EOFError, OSError):
        return 0.0
    finally:
        for pipe, process in zip(ours, team, strict=True):
            pipe.close()
            process.terminate()
            process.join()


def train_a_while(pipe: Connection, config: RunConfig, offline: bool) -> None:
    """Train a run that is kept nowhere: warm up, say so, be told for how many seconds, and say the images a second."""
    prepare(config.threads)
    state = State(config, Datasets(offline=offline).load(config.data), make_fabric(config))
    state.method.train()
    state.regularizer.train()
    # In the second half of training all terms are switched on.
    state.position.step = state.total // 2
    taken, epoch, begun, seconds = 0, 0, 0.0, 0.0
    with rng.forked(config.seed, "train"):
        while True:
            for views in batches(state, epoch):
                # What is timed is a step, wherever in a run.
                state.position.step = min(state.position.step, state.total - 1)
                step(state, views)
                taken += 1
                if taken < WARM_STEPS or (begun and time.monotonic() - begun < seconds):
                    continue
                if state.fabric.device.type == "cuda":
                    torch.cuda.synchronize(state.fabric.device)
                if begun:
                    pipe.send((taken - WARM_STEPS) * state.images_per_step / (time.monotonic() - begun))
                    return
                pipe.send(True)
                seconds, begun, taken = pipe.recv(), time.monotonic(), WARM_STEPS
            epoch += 1
