"""What a step of training costs: read off the store, or measured by taking a few."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dsabench import rng
from dsabench.config.run_config import RunConfig
from dsabench.data.dataset import Dataset
from dsabench.errors import RunFailed
from dsabench.training.cost import freed_memory_kept, peak_memory_mb, reset_peak_memory
from dsabench.training.run import Run
from dsabench.training.state import State
from dsabench.training.step import batches, step

# Shares of training at which steps are timed: what is switched on later costs from then on.
PLACES = (0.0, 0.5, 0.95)
# Steps at each place, the first of them not timed.
STEPS = 4
# A step that would take longer, in seconds, is not taken: its time is that of a forward pass, in proportion.
LONGEST_STEP_S = 10.0
# How many forward passes of both views a step is worth: the backward pass costs about two.
PASSES = 3


class Price(NamedTuple):
    """Seconds a step, peak memory in megabytes, and how they are known.

    `known_by` is `the store` (finished runs that differ in seed or epochs alone), `steps` (real ones, here and now) or
    `a forward pass` (of two images, times what a step is worth).
    """

    step_s: float
    memory_mb: float
    known_by: str


def from_store(config: RunConfig, runs: Sequence[Run], images: int) -> Price | None:
    """What finished runs, oldest first, cost that are this one but for seed and epochs; None where there are none."""
    for run in reversed(runs):
        rate, memory = run.state.get("images_per_s"), run.state.get("peak_mem_mb")
        if run.state["status"] == "finished" and rate and memory and cost_identity(run.config) == cost_identity(config):
            return Price(images / rate, memory, "the store")
    return None


def cost_identity(config: RunConfig) -> dict[str, Any]:
    """What decides the cost of a step."""
    return {key: value for key, value in config.identity().items() if key not in ("seed", "epochs")}


def taken(state: State) -> Price:
    """The cost of a step by taking some, or by a forward pass where they would take too long or too much."""
    forward_s, bytes_forward = forward_pass(state.method.backbone, state.dataset)
    reset_peak_memory(state.fabric.device)
    base = peak_memory_mb(state.fabric.device)
    images = 2 * state.images_per_step
    step_s, memory = PASSES * forward_s * images, base + bytes_forward * images / 1e6
    free = free_memory_mb(state.config.device)
    if not state.total:
        return Price(0.0, base, "steps")
    guess = Price(step_s, memory, "a forward pass")
    if step_s > LONGEST_STEP_S or (free is not None and memory - base > free):
        return guess
    try:
        with freed_memory_kept(), rng.forked(state.config.seed, "train"):
            times = [seconds for place in PLACES for seconds in steps_at(state, int(place * state.total))]
            peak = peak_memory_mb(state.fabric.device)
    except RunFailed:
        # It is for training to say so.
        return guess
    return Price(sum(times) / len(times), peak, "steps")


def steps_at(state: State, first: int) -> list[float]:
    """The seconds of some steps from `first` on; the state is spoiled for anything else."""
    state.method.train()
    state.regularizer.train()
    epoch, start = divmod(first, state.steps_per_epoch)
    times: list[float] = []
    clock = time.monotonic()
    for views in batches(state, epoch, start):
        state.position.step = min(first + len(times), state.total - 1)
        step(state, views)
        if state.fabric.device.type == "cuda":
            torch.cuda.synchronize(state.fabric.device)
        now = time.monotonic()
        times.append(now - clock)
        clock = now
        if len(times) == STEPS:
            break
    return times[1:] or times


@torch.no_grad()
def forward_pass(backbone: nn.Module, dataset: Dataset) -> tuple[float, float]:
    """Seconds and bytes of all layers' outputs, which the backward pass needs, for one image."""
    sizes: list[int] = []

    def measure(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel() * output.element_size())

    device = next(backbone.parameters()).device
    images = torch.zeros(2, dataset.channels, dataset.image_size, dataset.image_size, device=device)
    # In eval mode, so that no buffer moves.
    training = backbone.training
    backbone.eval()
    handles = [leaf.register_forward_hook(measure) for leaf in backbone.modules() if not list(leaf.children())]
    backbone(images)
    for handle in handles:
        handle.remove()
    seconds = least(lambda: backbone(images).cpu())
    backbone.train(training)
    return seconds / len(images), sum(sizes) / len(images)


def least(call: Callable[[], object], tries: int = 3) -> float:
    """The least seconds of some calls: what other processes take of the machine is not the call's."""
    times = []
    for _ in range(tries):
        begun = time.monotonic()
        call()
        times.append(time.monotonic() - begun)
    return min(times)


def free_memory_mb(device: str) -> int | None:
    """Memory that is free, of the device on CUDA; None where the system does not say."""
    if device == "cuda":
        return round(torch.cuda.mem_get_info()[0] / 1e6)
    try:
        available = Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]
    except (OSError, IndexError):
        return None
    return round(int(available) * 1024 / 1e6)
