"""Where a training step's time goes, what each choice in it gives, and how near it comes to the machine's own speed.

python -m benchmarks.speed.step [--json] [--device cpu]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.arena import SIMCLR, endless_batches, made_up, make_state, stopwatch
from benchmarks.speed.measure import Report, arguments, in_turns, rate, ratio, set_threads, spread, synchronise
from dsabench.training.cost import freed_memory_kept
from dsabench.training.state import State
from dsabench.training.step import step

# Backbone, image size, channels, batch size: the default on digits, the small backbone and ResNet-18 on 32 px.
CASES = {
    "resnet8 8px": ("resnet8", 8, 1, 256),
    "resnet8 32px": ("resnet8", 32, 3, 256),
    "resnet18 32px": ("resnet18", 32, 3, 128),
}
SMOKE_CASES = {"resnet8w16 8px": ("resnet8w16", 8, 1, 32)}


def main() -> None:
    parser = arguments(__doc__.split("\n")[0], rounds=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    set_threads(options.threads)
    if options.smoke:
        options.rounds = 1
    report = Report("step", {"device": options.device, "threads": options.threads, "spec": SIMCLR})
    seconds = 0.0 if options.smoke else 1.0
    # As in a run.
    with freed_memory_kept():
        for name, case in (SMOKE_CASES if options.smoke else CASES).items():
            shares(report, name, case, options)
            choices(report, name, case, options, seconds)
    report.print(options.json)


def build(case: tuple[str, int, int, int], options: argparse.Namespace, **request: Any) -> State:
    """A SimCLR state of a case, in float32 unless `request` says otherwise."""
    backbone, size, channels, batch = case
    dataset = made_up(4 * batch, size, channels)
    asked = {"precision": "fp32", "threads": options.threads, "device": options.device} | request
    return make_state(SIMCLR, dataset, backbone=backbone, batch_size=batch, **asked)


def stepping(state: State) -> Callable[[], object]:
    """One step on the next batch."""
    stream = endless_batches(state)
    return lambda: step(state, next(stream))


def shares(report: Report, name: str, case: tuple[str, int, int, int], options: argparse.Namespace) -> None:
    """The parts of a step, and the share of the machine's matrix-product speed that the whole of it reaches."""
    state = build(case, options)
    stream = endless_batches(state)
    views = next(stream)
    step(state, views)
    with FlopCounterMode(display=False) as counter:
        step(state, views)
    steps = 1 if options.smoke else max(3, round(2.0 / once(state, stream, options.device)))
    whole, augmenting, parts = [], [], []
    peaks = []
    for _ in range(options.rounds):
        peaks.append(matrix_flops(options.device))
        with stopwatch(state, options.device) as inside:
            synchronise(options.device)
            start, drawn = time.perf_counter(), 0.0
            for _ in range(steps):
                before = time.perf_counter()
                views = next(stream)
                synchronise(options.device)
                drawn += time.perf_counter() - before
                step(state, views)
            synchronise(options.device)
            whole.append((time.perf_counter() - start) / steps)
        augmenting.append(drawn / steps)
        parts.append({part: value / steps for part, value in inside.items()})
    figure: dict[str, Any] = {
        "case": name,
        "batch_size": case[3],
        "images_per_s": rate(case[3], whole),
        "share_augmentation": spread([drawn / seconds for drawn, seconds in zip(augmenting, whole, strict=True)]),
    }
    for part in ("forward", "backward", "optimizer"):
        figure[f"share_{part}"] = spread([own[part] / seconds for own, seconds in zip(parts, whole, strict=True)])
    flops = counter.get_total_flops()
    figure["gflop_per_step"] = flops / 1e9
    figure["share_of_matrix_peak"] = spread(
        [flops / seconds / peak for seconds, peak in zip(whole, peaks, strict=True)]
    )
    report.figures.append(figure)


def once(state: State, stream: Any, device: str) -> float:
    """Seconds of one step, batch included."""
    synchronise(device)
    start = time.perf_counter()
    step(state, next(stream))
    synchronise(device)
    return time.perf_counter() - start


def matrix_flops(device: str) -> float:
    """Floating-point operations a second of a float32 matrix product of 2,048 x 2,048, the best of five.

    On a CPU the better of the two libraries that torch carries: its own product is MKL's, which leaves half of some
    processors unused, while convolutions are oneDNN's.
    """
    x = torch.randn(2048, 2048, device=device)
    products: list[Callable[[], Tensor]] = [lambda: x @ x]
    if device == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        laid_out = x.to_mkldnn()
        products.append(lambda: functional.linear(laid_out, x))
    best = float("inf")
    for product in products * 5:
        synchronise(device)
        start = time.perf_counter()
        product()
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


def choices(
    report: Report, name: str, case: tuple[str, int, int, int], options: argparse.Namespace, seconds: float
) -> None:
    """Whole steps as they are, beside the same with one choice made the other way."""
    two = build(case, options)
    method: Any = two.method
    method.backbone = InTurn(method.backbone)
    planar = build(case, options)
    for module in planar.method.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.contiguous_format)
    work = {
        "as it is": stepping(build(case, options)),
        "bf16": stepping(build(case, options, precision="bf16")),
        "two_forwards": stepping(two),
        "planar_weights": stepping(planar),
    }
    times = in_turns(work, rounds=options.rounds, seconds=seconds, device=options.device)
    ours = times["as it is"]
    key = name.replace(" ", "_")
    for other in ("two_forwards", "planar_weights"):
        report.ratios[f"{other}_{key}"] = ratio(times[other], ours)
    # An option, and not what the package does by itself on a CPU.
    report.figures.append({"case": name, "bf16_over_fp32": ratio(ours, times["bf16"])})


class InTurn(nn.Module):
    """A backbone that takes the two halves of a batch, the views, one after the other."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.inner = backbone

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.inner(half) for half in images.chunk(2)])


if __name__ == "__main__":
    main()
