"""The training loop: steps to the end of a run, its log, its checkpoints, and what stops it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from dsabench import rng
from dsabench.errors import Interrupted, ProcessLost, RunFailed
from dsabench.signals import Stop
from dsabench.training.adjust import adjust, encoder_tensors
from dsabench.training.checkpoint import read_checkpoint, tensors_sha256, write_checkpoint
from dsabench.training.cost import peak_memory_mb, reset_peak_memory
from dsabench.training.events import Told, unheard
from dsabench.training.run import Run, say, utc_now
from dsabench.training.state import State
from dsabench.training.step import batches, require_finite, step
from dsabench.training.tally import Tally

# The most that a killed run loses, in seconds; also the least time between two checkpoints.
CHECKPOINT_S = 2.0

# What some steps alone can say, and what counts those.
MEASURED = {"similar_precision": "similar_steps", "outlier_auroc": "outlier_steps"}

Watch = Callable[[int, int, float | None, float], None]


# What is measured of a state at the end of an epoch; it changes nothing of the state.
Track = Callable[[State], dict[str, float]]


def fit(state: State, run: Run, stop: Stop, watch: Watch, told: Told = unheard, track: Track | None = None) -> None:
    """Train a run to its end, from its last sound checkpoint if it has one.

    `watch(step, total, loss, images_per_s)` is called after every step, with the last loss that is known, and
    `told(row)` with each row of the log, on every rank; what `track(state)` returns at the end of an epoch is entered
    in that row. Raises RunFailed for a loss or a weight that is not finite, with nothing after it saved (on the CPU
    with nothing updated either), Interrupted, after a checkpoint, when `stop` was requested, and ProcessLost where
    another process of the run is gone.
    """
    reset_peak_memory(state.fabric.device)
    try:
        with state.ranks.together():
            resume(state, run)
            tally = Tally(state.position, state.fabric.device, state.ranks.mean)
            train(state, run, tally, stop, watch, told, track)
            finish(state, run, tally)
    except ProcessLost:
        # Nothing can be agreed on any more.
        if state.ranks.is_writer:
            run.update(status="interrupted")
        raise
    except RunFailed as error:
        failed = {"status": "failed", "error": str(error), "finished_utc": utc_now()}
        run.written_by(state.ranks, lambda: run.update(**failed))
        raise
    except Interrupted:
        run.written_by(state.ranks, lambda: run.update(status="interrupted"))
        raise


def resume(state: State, run: Run) -> None:
    """Go to the newest sound checkpoint, if there is one."""
    path = state.ranks.by_writer(lambda: next(run.sound_checkpoints(), None))
    if path is not None:
        state.restore(*read_checkpoint(path))
        if state.ranks.is_writer and state.position.step < state.total:
            say(f"{run.config.label}: going on from step {state.position.step:,} of {state.total:,}")


def train(
    state: State,
    run: Run,
    tally: Tally,
    stop: Stop,
    watch: Watch,
    told: Told = unheard,
    track: Track | None = None,
) -> None:
    """Run all steps that are left."""
    state.method.train()
    state.regularizer.train()
    position, ranks = state.position, state.ranks
    saved = clock = time.monotonic()
    with rng.forked(state.config.seed, "train"):
        while position.step < state.total:
            epoch, start = divmod(position.step, state.steps_per_epoch)
            begun = False
            for views in batches(state, epoch, start):
                if not begun:
                    # What reads ahead takes its time to begin.
                    ranks.wait()
                    begun = True
                number, lr = position.step, state.lr
                try:
                    tally.add(number, step(state, views), lr)
                except RunFailed:
                    # What ruined it may be an earlier loss that nobody has looked at.
                    look(state, tally)
                    raise
                ends = position.step % state.steps_per_epoch == 0
                looks = ends or tally.unseen >= state.look_every
                if looks:
                    look(state, tally)
                now = time.monotonic()
                position.wall_s += now - clock
                clock = now
                watch(position.step, state.total, tally.last_loss, state.images_per_s)
                if ends:
                    close_epoch(state, tally)
                    if track is not None:
                        if ranks.is_writer:
                            position.log[-1] |= track(state)
                        ranks.wait()
                        # Measuring is no training either.
                        clock = time.monotonic()
                    told(position.log[-1])
                # Several processes have to talk to agree, and do so where they wait for the device anyway.
                if position.step == state.total or not (looks or ranks.world_size == 1):
                    continue
                stop.exit_code, due = ranks.agree(stop.exit_code, now - saved >= CHECKPOINT_S)
                if stop.requested or due:
                    save(state, run, tally, **cost(state, run))
                    stop.check()
                    # Writing is no training, and a slow disk must not look like a slow method.
                    saved = clock = time.monotonic()


def look(state: State, tally: Tally) -> None:
    """Wait for the losses of the steps since the last look; raise RunFailed for the first that is not finite."""
    for number, values in tally.look():
        require_finite(state, number, values)


def close_epoch(state: State, tally: Tally) -> None:
    """Turn the epoch's sums into a row of the log."""
    sums, steps = tally.sums(), state.steps_per_epoch
    # What only some steps can say is a mean over those.
    measured = {name: max(1.0, sums.pop(counted)) for name, counted in MEASURED.items() if counted in sums}
    means = {name: value / measured.get(name, steps) for name, value in sums.items()}
    row = {"epoch": float(state.position.step // steps), **means, "wall_s": state.position.wall_s}
    row["images_per_s"] = state.images_per_s
    state.position.log.append(row)
    tally.clear()


def cost(state: State, run: Run) -> dict[str, Any]:
    """What the run has cost so far; the memory is that of the process that writes."""
    return {
        "images_seen": state.images_seen,
        "wall_s": state.position.wall_s,
        "images_per_s": state.images_per_s,
        "peak_mem_mb": max(peak_memory_mb(state.fabric.device), run.state.get("peak_mem_mb") or 0.0),
    }


def save(state: State, run: Run, tally: Tally, **changes: Any) -> None:
    """Write a checkpoint, the log, and what else changes in the run's state with it."""
    look(state, tally)
    position = state.position
    position.sums = tally.sums()
    path = run.folder / "checkpoints" / f"step-{position.step:08d}.safetensors"

    def write() -> None:
        sha256 = write_checkpoint(path, state.tensors(), vars(position))
        log_sha256 = run.write_log(position.log)
        run.add_checkpoint(path, sha256, step=position.step, log_sha256=log_sha256, **changes)

    run.written_by(state.ranks, write)


def finish(state: State, run: Run, tally: Tally) -> None:
    """Write the last checkpoint and mark the run as finished, in one change of its state."""
    # The loss of a step says nothing of what its update made of the weights.
    bad = [name for name, x in state.modules().items() if x.is_floating_point() and not torch.isfinite(x).all()]
    if bad:
        raise RunFailed(f"{state.config.label}: {bad[0]} is not finite after the last step; try a smaller lr")
    began = time.monotonic()
    adjust(state)
    state.position.wall_s += time.monotonic() - began
    sha256 = tensors_sha256(encoder_tensors(state.modules()))
    if not state.ranks.are_equal(int(sha256[:12], 16)):
        raise RunFailed(f"{state.config.label}: its processes ended with different weights; are they of one kind?")
    changes = {"status": "finished", "weights_sha256": sha256, "finished_utc": utc_now()}
    save(state, run, tally, **changes, **cost(state, run))
