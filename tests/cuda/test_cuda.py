"""What only a GPU can show; skipped without one. `CUDA_TESTS_DEVICE=cpu` runs all but the waits on the processor."""

import csv
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command import TINY, dsabench

from dsabench.config.plan import plan
from dsabench.config.request import Request
from dsabench.config.spec import parse_spec
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.data.views.augment import augment
from dsabench.data.views.policies import POLICIES
from dsabench.methods import METHODS
from dsabench.probes.logistic import fit_batched
from dsabench.regularizers.dsa.nested import NestedDSA
from dsabench.rng import generator
from dsabench.training.checkpoint import module_state, tensors_sha256
from dsabench.training.machine import prepare
from dsabench.training.ranks import make_fabric
from dsabench.training.state import State
from dsabench.training.step import batches, step
from dsabench.types import MethodOutput, Views

DEVICE = os.environ.get("CUDA_TESTS_DEVICE", "cuda")
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no GPU here"),
]

TRAINED = [name for name in METHODS if name != "random"]
ON_DEVICE = (*TINY, "--device", DEVICE, "--epochs", "2")
# Of those below lightly's losses or CUDA's solvers wait; these have neither.
NEVER_WAIT = (
    "byol+dsa-nested",
    "barlow_twins+dsa-nested",
    "simsiam+dsa-nested",
    "byol+dsa-nested[queue=256]",
    "byol+dsa-nested[prior=self]",
)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    prepare(1)


def state_of(spec: str, precision: str = "fp32", **more: Any) -> State:
    data = DataConfig(name="synthetic", image_size=8)
    request = Request(
        (parse_spec(spec),),
        (0,),
        data,
        "resnet8w16",
        epochs=4,
        batch_size=64,
        device=DEVICE,
        precision=precision,
        **more,
    )
    dataset = Datasets().load(data)
    (config,) = plan(request, dataset)
    prepare(1, deterministic=config.deterministic and DEVICE == "cuda")
    state = State(config, dataset, make_fabric(config))
    state.method.train()
    state.regularizer.train()
    return state


def trained(spec: str, steps: int, **more: Any) -> State:
    state = state_of(spec, **more)
    stream = batches(state, 0)
    for _ in range(steps):
        step(state, next(stream))
    return state


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", TRAINED)
def test_every_method_takes_finite_steps(method: str, precision: str) -> None:
    # Half of a batch whitens fewer dimensions.
    options = {"w_mse": "[whitening_size=32,output_dim=16]", "supcon_kmeans": "[clusters=5]"}.get(method, "")
    state = state_of(f"{method}{options}+dsa-nested[start=0]", precision)
    stream = batches(state, 0)
    for _ in range(2):
        terms = step(state, next(stream))
        assert all(math.isfinite(float(term)) for name, term in terms.items() if name in ("loss", "ssl", "dsa_adjust"))
    assert all(tensor.isfinite().all() for tensor in state.modules().values() if tensor.is_floating_point())


@pytest.mark.skipif(DEVICE != "cuda", reason="only CUDA says where it was waited for")
@pytest.mark.parametrize("spec", NEVER_WAIT)
def test_no_step_waits_for_the_device(spec: str) -> None:
    state = state_of(spec)
    stream = batches(state, 0)
    for _ in range(2):
        step(state, next(stream))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(state, next(stream))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    "spec", ["simclr+dsa-nested[start=0]", "byol+dsa-nested[start=0]", "swav+dsa-nested[start=0]", "mmcr"]
)
def test_deterministic_runs_repeat_each_other(spec: str) -> None:
    hashes = {tensors_sha256(module_state(trained(spec, 4, deterministic=True).method, "method")) for _ in range(2)}
    assert len(hashes) == 1


def test_a_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    words = ("pretrain", *ON_DEVICE, "--method", "byol+dsa-nested[start=0]", "--deterministic", "--json", "--runs")
    whole = dsabench(*words, tmp_path / "whole")
    assert whole.code == 0, whole.err
    stop = "import dsabench.training.loop as l, os, signal\nl.CHECKPOINT_S = 0.0\nreal = l.step\n"
    stop += "def one(s, v):\n    t = real(s, v)\n    s.position.step == 3 and os.kill(os.getpid(), signal.SIGTERM)\n"
    stop += "    return t\nl.step = one"
    from command import end, start

    halted = end(start(*words, tmp_path / "parts", cwd=tmp_path, before=stop))
    assert halted.code == 143, halted.err
    resumed = dsabench(*words, tmp_path / "parts")
    assert resumed.code == 0, resumed.err
    key = '"weights_sha256": "'
    assert whole.out.split(key)[1][:64] == resumed.out.split(key)[1][:64]


def test_a_compiled_backbone_computes_the_same() -> None:
    plain, compiled = (trained("simclr", 2, compile=flag) for flag in (False, True))
    for one, other in zip(plain.method.parameters(), compiled.method.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


def test_what_a_gpu_trained_is_evaluated_on_a_processor(tmp_path: Path) -> None:
    assert dsabench("pretrain", *ON_DEVICE, "--method", "simclr+dsa-nested", "--runs", tmp_path).code == 0
    values: list[dict[str, float]] = []
    for device in (DEVICE, "cpu"):
        table = tmp_path / f"{len(values)}.csv"
        words = ("--probe", "knn", "--probe", "crowding", "--probe", "linear", "--device", device, "--output", table)
        done = dsabench("eval", "--runs", tmp_path, *words)
        assert done.code == 0, done.err
        with table.open() as file:
            values.append({row["metric"] + row["probe"]: float(row["value"]) for row in csv.DictReader(file)})
    assert values[0].keys() == values[1].keys()
    for name, value in values[0].items():
        assert value == pytest.approx(values[1][name], rel=2e-2, abs=2e-2), name


def test_the_batched_probe_finds_what_it_finds_on_a_processor() -> None:
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 4
    x = torch.randn(1, 200, 16, generator=draw, dtype=torch.float64) + 2 * torch.eye(4, 16, dtype=torch.float64)[y]
    ours, converged = fit_batched(x.to(DEVICE), y[None].to(DEVICE), (0.01, 1.0, 100.0))
    theirs, _ = fit_batched(x, y[None], (0.01, 1.0, 100.0))
    assert converged.all()
    torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-3, atol=1e-4)


def test_views_and_terms_are_those_of_a_processor() -> None:
    images = torch.randint(0, 256, (32, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for policy in (POLICIES["dsa"].view1, POLICIES["asymmetric"].view1, POLICIES["asymmetric"].view2):
        here, there = (augment(images.to(device), policy, generator("view"), 32).cpu() for device in ("cpu", DEVICE))
        torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-3)
    draw = torch.Generator().manual_seed(1)
    h, z1, z2 = (torch.randn(96, width, generator=draw) for width in (32, 16, 16))
    found = []
    for device in ("cpu", DEVICE):
        torch.manual_seed(2)
        dsa = NestedDSA(torch.nn.Identity(), 32, 16, start=0.0, prior="self").to(device)
        own = [z.to(device).requires_grad_() for z in (z1, z2)]
        features = h.to(device)
        terms = dsa(
            MethodOutput(own[0].sum(), features, features, *own),
            Views(features, features, features, torch.arange(96, device=device)),
            1.0,
        )
        gradients = torch.autograd.grad(torch.stack(list(terms.values())).sum(), own)
        found.append([x.cpu() for x in (*terms.values(), *gradients)])
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-5)
