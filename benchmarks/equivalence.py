"""One run on several processes against the same run on one: the largest differences after the same batches.

    python -m benchmarks.equivalence                      # every method x variant x {2, 3} processes, both precisions
    python -m benchmarks.equivalence --methods simclr,byol --processes 2 --precisions float64

For each method and variant: the loss of three steps, the gradients of the first and the weights after the third, with
SGD (Adam divides gradients of nothing but rounding by themselves). A difference is relative to the largest value of its
kind. In float64 all of it is rounding; in float32 a neighbour that two orders of summation rank otherwise would show.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dsabench import rng
from dsabench.config.plan import plan
from dsabench.config.request import Request
from dsabench.config.spec import parse_spec
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.methods import METHODS
from dsabench.training.ranks import make_fabric
from dsabench.training.state import State
from dsabench.training.step import batches, step

STEPS = 3
VARIANTS = {
    "none": "",
    "dsa-nested": "+dsa-nested[start=0]",
    "dsa-nested, queue": "+dsa-nested[start=0,queue=100]",
    "sigreg": "+sigreg",
}
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
SGD = "optimizer=sgd,lr=0.02,momentum=0.9,schedule=constant"
# What makes a queue fill up, or a batch be cut into several slices, within three steps.
OPTIONS = {
    "w_mse": "whitening_size=32,output_dim=8",
    "swav": "queue_start=0,queue_size=100,frozen_share=0.2",
    "moco_v2": "queue_size=250",
    "supcon_kmeans": "every=0.5,clusters=8",
    "dino": "frozen_share=0.2",
}


class Case(NamedTuple):
    """A method, the name of a variant, and a precision by name."""

    method: str
    variant: str
    precision: str

    @property
    def spec(self) -> str:
        options = ",".join(filter(None, [SGD, OPTIONS.get(self.method)]))
        return f"{self.method}[{options}]{VARIANTS[self.variant]}"


class Difference(NamedTuple):
    """The largest differences of a case, relative to the largest value."""

    loss: float
    gradient: float
    weights: float


def trainable() -> list[str]:
    """The methods that there is something to compare of."""
    return [name for name in METHODS if name != "random"]


def all_cases(methods: Sequence[str], variants: Sequence[str], precisions: Sequence[str]) -> list[Case]:
    """Every method with every variant, in every precision."""
    return [Case(*parts) for parts in ((m, v, p) for p in precisions for m in methods for v in variants)]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Modules are made in this precision."""
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def trace(case: Case, datasets: Datasets) -> dict[str, Tensor]:
    """The losses (3,), the gradients of the first step and the weights after the last, by name, of this process."""
    request = Request(
        (parse_spec(case.spec),),
        data=DataConfig(name="digits"),
        backbone="resnet8w16",
        epochs=1,
        batch_size=96,
        device="cpu",
    )
    dataset = datasets.load(request.data)
    (config,) = plan(request, dataset)
    fabric = make_fabric(config)
    with default_dtype(PRECISIONS[case.precision]):
        state = State(config, dataset, fabric)
    state.method.train()
    state.regularizer.train()
    views: list[Any] = list(islice(batches(state, 0), STEPS))
    dtype = PRECISIONS[case.precision]
    names: dict[int, str] = {}
    for kind, module in (("method", state.method), ("regularizer", state.regularizer)):
        names |= {id(p): f"{kind}.{name}" for name, p in module.named_parameters()}
        for buffer in filter(torch.is_floating_point, module.buffers()):
            # lightly asks for float32 by name.
            buffer.data = buffer.data.to(dtype)
    found: dict[str, Tensor] = {}

    def keep(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for p in (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None):
            found.setdefault(f"gradient.{names[id(p)]}", p.grad.clone())

    for optimizer in state.optimizers.values():
        optimizer.register_step_pre_hook(keep)
    losses = []
    with default_dtype(dtype), rng.forked(config.seed, "train"):
        for batch in views:
            wide = batch._replace(
                anchor=batch.anchor.to(dtype), view1=batch.view1.to(dtype), view2=batch.view2.to(dtype)
            )
            losses.append(state.ranks.mean(step(state, wide)["loss"]))
    weights = {f"weights.{name}": x.clone() for name, x in state.modules().items() if x.is_floating_point()}
    return {"losses": torch.stack(losses), **found, **weights}


def differences(one: Mapping[str, Tensor], several: Mapping[str, Tensor]) -> Difference:
    """How far the trace of several processes is from that of one."""
    if one.keys() != several.keys():
        raise ValueError(f"other tensors: {sorted(one.keys() ^ several.keys())[:3]}")

    def largest(kind: str) -> float:
        pairs = [(one[name].double(), several[name].double()) for name in one if name.startswith(kind)]
        scale = max(float(a.abs().max()) for a, _ in pairs if a.numel())
        return max(float((a - b).abs().max()) for a, b in pairs if a.numel()) / scale

    return Difference(largest("losses"), largest("gradient."), largest("weights."))


def traces_of(cases: Sequence[Case], processes: int, folder: Path) -> list[dict[str, Tensor]]:
    """The traces of cases with so many processes, of which one group works through all of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    words = [word for case in cases for word in case]
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.equivalence", "--work", str(folder), *words],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        for worker in workers:
            _, said = worker.communicate()
            if worker.returncode:
                raise RuntimeError(said)
    finally:
        for worker in workers:
            worker.kill()
    return [load_file(folder / f"{number}.safetensors") for number in range(len(cases))]


def work(folder: Path, cases: Sequence[Case]) -> None:
    """What each of several processes does: the first of them writes."""
    datasets = Datasets(offline=True)
    for number, case in enumerate(cases):
        found = trace(case, datasets)
        if os.environ["RANK"] == "0":
            save_file({name: x.contiguous() for name, x in found.items()}, folder / f"{number}.safetensors")


def measured(cases: Sequence[Case], processes: int) -> list[Difference]:
    """The differences of cases between so many processes and one."""
    with tempfile.TemporaryDirectory() as folder:
        several = traces_of(cases, processes, Path(folder))
    datasets = Datasets(offline=True)
    return [differences(trace(case, datasets), found) for case, found in zip(cases, several, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", default=",".join(trainable()))
    parser.add_argument("--variants", default=";".join(VARIANTS), help="parted by semicolons")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--processes", default="2,3")
    arguments = parser.parse_args()
    cases = all_cases(arguments.methods.split(","), arguments.variants.split(";"), arguments.precisions.split(","))
    counts = [int(count) for count in arguments.processes.split(",")]
    print("| method | variant | precision | processes | loss | gradient | weights |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    for count in counts:
        for case, difference in zip(cases, measured(cases, count), strict=True):
            values = " | ".join(f"{value:.1e}" for value in difference)
            print(f"| {case.method} | {case.variant} | {case.precision} | {count} | {values} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        words = iter(sys.argv[3:])
        work(Path(sys.argv[2]), [Case(*parts) for parts in zip(words, words, words, strict=True)])
    else:
        main()
