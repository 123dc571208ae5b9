"""What DSA costs: shares of a step, of `dsa-nested` the teacher and the terms apart; the published loops; growth.

python -m benchmarks.speed.dsa_cost [--json] [--backbone resnet18] [--batch-size 512] [--device cpu]

`overhead` is the time of what `dsa-nested` adds (the teacher's forward pass and update, the terms both ways),
measured by itself, over that of a plain step: `ema`, `ema_every=4` and `self` by prior, `teacher` and `terms` apart.
`bank` is what `dsa[weight=3]` adds to a step with a bank of 50,000 images; what it reads off it, once, is a figure,
and so is fitting an adjuster, once, to 4,096 features and as many pairs of views, whose forward passes are not in it.
Differences of whole steps are there too, as `whole_*`, `whole_dsa` that of `dsa` at its defaults; a difference of two
long times has the noise of both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from benchmarks.speed import published
from benchmarks.speed.arena import SIMCLR, made_up, make_state
from benchmarks.speed.measure import Report, arguments, in_turns, ratio, set_threads, spread, synchronise
from dsabench.adjuster import SAMPLE, Adjuster
from dsabench.regularizers.dsa.bank import DSA
from dsabench.regularizers.dsa.nested import NestedDSA
from dsabench.regularizers.dsa.pairs import DifferenceNetwork
from dsabench.training.cost import freed_memory_kept, peak_memory_mb, reset_peak_memory
from dsabench.training.state import State
from dsabench.training.step import batches, step
from dsabench.types import MethodOutput, Views

# Features of ResNet-18 and embeddings of its head.
FEATURES, EMBEDDING = 512, 128
GROWTH = (512, 1024, 2048, 4096)
# Images of CIFAR-10, one neighbour in so many of them.
BANK, ONE_IN = 50_000, 64


def main() -> None:
    parser = arguments(__doc__.split("\n")[0], rounds=3)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--terms", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.smoke:
        options.backbone, options.image_size, options.batch_size, options.rounds = "resnet8w16", 8, 32, 1
    set_threads(options.threads)
    if options.terms:
        print(json.dumps(one_size(options.terms, options.device)))
        return
    settings = {
        key: getattr(options, key) for key in ("backbone", "image_size", "batch_size", "device", "precision", "threads")
    }
    report = Report("dsa_cost", settings)
    # As in a run.
    with freed_memory_kept():
        shares_of_a_step(report, options)
        if options.device == "cpu":
            beside_the_published(report, 64 if options.smoke else 512, options)
    growth(report, (64, 128) if options.smoke else GROWTH, options)
    report.print(options.json)


def shares_of_a_step(report: Report, options: argparse.Namespace) -> None:
    """Whole steps of SimCLR, plain and with `dsa-nested` by each prior, and the parts that it adds, in turns."""
    batch = options.batch_size
    dataset = made_up(batch, options.image_size, 3)
    regularizers = {
        "plain": "",
        "dsa": "+dsa",
        "ema": "+dsa-nested[start=0]",
        "ema_every=4": "+dsa-nested[start=0,ema_every=4]",
        "self": "+dsa-nested[start=0,prior=self]",
    }
    work: dict[str, Callable[[], object]] = {}
    for name, regularizer in regularizers.items():
        state = make_state(
            SIMCLR + regularizer,
            dataset,
            backbone=options.backbone,
            batch_size=batch,
            device=options.device,
            precision=options.precision,
            threads=options.threads,
        )
        views = next(iter(batches(state, 0)))
        work[f"step, {name}"] = lambda state=state, views=views: step(state, views)  # type: ignore[misc]
        if name.startswith("ema"):
            work[f"teacher, {name}"] = teacher_of(state, views)  # type: ignore[arg-type]
    work["terms"] = terms_of(batch, options.device)
    bank, read_off = bank_of(batch, 1024 if options.smoke else BANK, options.device)
    work |= {"bank": bank, "bank, read off": read_off}
    work["adjuster, fitted"] = adjuster_of(128 if options.smoke else SAMPLE, options.device)
    times = in_turns(work, rounds=options.rounds, seconds=0.0 if options.smoke else 1.0, device=options.device)
    for name, seconds in times.items():
        report.figures.append({"what": name, "seconds": spread(seconds)})
    plain, terms = times["step, plain"], times["terms"]
    added = {
        "ema": times["teacher, ema"],
        "ema_every=4": times["teacher, ema_every=4"],
        # The student's own features take no time but that of the terms, where it is counted.
        "self": [0.0] * len(terms),
    }
    for name, teacher in added.items():
        parts = zip(teacher, terms, plain, strict=True)
        report.overhead[name] = spread([(own + rest) / step for own, rest, step in parts])
    report.overhead["teacher"] = spread([own / step for own, step in zip(added["ema"], plain, strict=True)])
    report.overhead["terms"] = report.overhead["self"]
    report.overhead["bank"] = spread([own / step for own, step in zip(times["bank"], plain, strict=True)])
    for name in ("dsa", *added):
        pairs = zip(times[f"step, {name}"], plain, strict=True)
        report.overhead[f"whole_{name}"] = spread([with_dsa / without - 1 for with_dsa, without in pairs])


def teacher_of(state: State, views: Views) -> Callable[[], object]:
    """The forward pass of the EMA teacher and its update."""
    prior: Any = state.regularizer.prior
    h = torch.zeros(len(views.index), state.feature_dim, device=views.anchor.device)
    output = MethodOutput(h.sum(), h, h, h, h)

    def work() -> None:
        with torch.autocast(views.anchor.device.type, torch.bfloat16, enabled=state.config.precision == "bf16"):
            prior(output, views)
        prior.after_step()

    return work


def terms_of(images: int, device: str, embedding: int = EMBEDDING) -> Callable[[], object]:
    """Everything that `dsa-nested` computes beside the teacher, forward and backward, for a batch of `images`."""
    torch.manual_seed(0)
    dsa = NestedDSA(nn.Identity(), FEATURES, embedding, start=0.0, prior="self").to(device)
    h1, h2 = (torch.randn(images, FEATURES, device=device) for _ in range(2))
    z1, z2 = (torch.randn(images, embedding, device=device, requires_grad=True) for _ in range(2))
    index = torch.arange(images, device=device)
    views = Views(h1, h1, h2, index)
    output = MethodOutput(z1.sum(), h1, h2, z1, z2)

    def work() -> None:
        torch.autograd.backward(torch.stack(list(dsa(output, views, 1.0).values())).sum())

    return work


def bank_of(images: int, held: int, device: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """Everything that `dsa[weight=3]` computes for a batch, both ways, and what it does once: k and trust."""
    torch.manual_seed(0)
    bank = DSA(nn.Identity(), FEATURES, EMBEDDING, num_images=held, weight=3.0).to(device)
    bank.features.copy_(normalize(torch.randn(held, FEATURES), dim=1))
    bank.embedded.copy_(normalize(torch.randn(held, EMBEDDING), dim=1))
    bank.trusted.fill_(1.0)
    h1, h2 = (torch.randn(images, FEATURES, device=device, requires_grad=True) for _ in range(2))
    z1, z2 = (torch.randn(images, EMBEDDING, device=device, requires_grad=True) for _ in range(2))
    views = Views(h1, h1, h2, torch.arange(images, device=device))

    def work() -> None:
        bank.known = [held // ONE_IN, 1.0, held]
        # The gradients of the method's loss, which the terms are weighed by, are products with what they weigh.
        output = MethodOutput((z1 * z2).sum() + (h1 * h2).sum(), h1, h2, z1, z2)
        torch.autograd.backward(torch.stack(list(bank(output, views, 1.0).values())).sum())

    def read_off() -> None:
        bank.known = [0.0, 0.0, held]
        bank.read_off(images, due=True)

    return work, read_off


def adjuster_of(images: int, device: str) -> Callable[[], object]:
    """Fitting an adjuster to the features of so many images, and of two views each."""
    torch.manual_seed(0)
    features, *views = (torch.randn(images, FEATURES, device=device) for _ in range(3))
    adjuster = Adjuster(FEATURES).to(device)
    return lambda: adjuster.fit(features, (views[0], views[1]))


def beside_the_published(report: Report, images: int, options: argparse.Namespace) -> None:
    """The terms beside the published loops, forward and backward, at N = `images` and the published head of 64."""
    torch.manual_seed(0)
    width = 64
    u, u1, u2 = (torch.randn(images, FEATURES) for _ in range(3))
    z1, z2 = (torch.randn(images, width, requires_grad=True) for _ in range(2))
    network = DifferenceNetwork(width)
    work = {
        "terms": terms_of(images, "cpu", width),
        "published": lambda: torch.autograd.backward(published.terms((z1, z2), u, (u1, u2), network)),
    }
    times = in_turns(work, rounds=options.rounds, seconds=0.0 if options.smoke else 1.0)
    for name, seconds in times.items():
        report.figures.append({"what": f"{name}, N = {images}", "seconds": spread(seconds)})
    report.ratios[f"published_{images}"] = ratio(times["published"], times["terms"])


def growth(report: Report, sizes: tuple[int, ...], options: argparse.Namespace) -> None:
    """Time and memory of the terms alone over N, each size in a process of its own."""
    for images in sizes:
        flags = ["--terms", str(images), "--device", options.device, "--threads", str(options.threads)]
        command = [sys.executable, "-m", "benchmarks.speed.dsa_cost", *flags]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        report.figures.append({"what": f"terms alone, N = {images}", **json.loads(found.stdout)})


def one_size(images: int, device: str) -> dict[str, float]:
    """Seconds of the terms and the memory that they add, for one N in this process."""
    terms_of(64, device)()
    work = terms_of(images, device)
    place = torch.device(device)
    reset_peak_memory(place)
    before = peak_memory_mb(place)
    work()
    memory = peak_memory_mb(place) - before
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return {"seconds": time.perf_counter() - start, "memory_mb": memory}


if __name__ == "__main__":
    main()
