"""A training run on made-up images, as large as a measurement wants it, without a run store or a data set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.speed.measure import synchronise
from dsabench import rng
from dsabench.config.plan import configure
from dsabench.config.request import Request
from dsabench.config.spec import parse_spec
from dsabench.data.dataset import Dataset, Split
from dsabench.training.ranks import make_fabric
from dsabench.training.state import State
from dsabench.training.step import batches
from dsabench.types import Views

CLASSES = 10

# The views of the code published with DSA, which lightly's SimCLRTransform can draw too.
VIEWS = "dsa"

# lightly's CIFAR recipe for SimCLR: head and optimiser are the same on both sides.
SIMCLR = "simclr[hidden_dim=512,output_dim=128,optimizer=sgd,lr=0.06,views=dsa]"


def made_up(images: int, size: int, channels: int) -> Dataset:
    """A data set of uint8 noise: what is in an image does not change what it costs."""
    generator = rng.generator("made up", images, size, channels)

    def split(count: int) -> Split:
        pixels = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
        return Split(torch.arange(count) % CLASSES, pixels)

    middle = (0.5,) * channels
    return Dataset(
        name="synthetic",
        train=split(images),
        val=split(CLASSES),
        test=split(CLASSES),
        classes=tuple(str(number) for number in range(CLASSES)),
        channels=channels,
        image_size=size,
        mean=middle,
        std=middle,
        sha256="",
    )


def make_state(spec: str, dataset: Dataset, **request: Any) -> State:
    """The state of a run that is kept nowhere; `request` as `dsabench.config.request.Request` takes it."""
    parsed = parse_spec(spec)
    asked = Request((parsed,), epochs=1000, **request)
    config = configure(asked, parsed, seed=0, dataset=dataset, device=asked.device)
    state = State(config, dataset, make_fabric(config))
    state.method.train()
    state.regularizer.train()
    return state


def endless_batches(state: State) -> Iterator[Views]:
    """The batches of the run, epoch after epoch."""
    epoch = 0
    while True:
        yield from batches(state, epoch)  # type: ignore[misc]  # no method here needs labels
        epoch += 1


@contextmanager
def stopwatch(state: State, device: str) -> Iterator[dict[str, float]]:
    """Seconds that steps spend in `forward`, `regularizer`, `backward` and `optimizer`, summed while inside."""
    seconds = dict.fromkeys(("forward", "regularizer", "backward", "optimizer"), 0.0)

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            synchronise(device)
            start = time.perf_counter()
            result = work(*arguments, **options)
            synchronise(device)
            seconds[name] += time.perf_counter() - start
            return result

        return run

    parts: list[tuple[Any, str, str]] = [
        (state, "forward_method", "forward"),
        (state, "forward_regularizer", "regularizer"),
    ]
    parts += [(state.fabric, "backward", "backward")]
    parts += [(optimizer, "step", "optimizer") for optimizer in state.optimizers.values()]
    before = [getattr(owner, name) for owner, name, _ in parts]
    for (owner, name, part), work in zip(parts, before, strict=True):
        setattr(owner, name, timed(part, work))
    try:
        yield seconds
    finally:
        for (owner, name, _), work in zip(parts, before, strict=True):
            setattr(owner, name, work)
