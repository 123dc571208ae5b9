"""What every speed measurement shares: candidates timed in turns, the machine's facts, and one way to print.

A shared machine changes its speed from minute to minute, so single times mean little. Candidates are timed one after
another in rounds, and a ratio is taken within each round; what is printed is the median of the rounds and their range.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import math
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from dsabench.training.provenance import device_name

Work = Callable[[], object]


@dataclass
class Report:
    """What a measurement found: `ratios` of speeds (ours over the peer's), `overhead` shares, and the `figures`.

    A figure is one line of facts: strings, numbers, or a `{"median", "low", "high"}` over the rounds. `verdict` is how
    a reader is told a ratio.
    """

    name: str
    settings: dict[str, Any]
    ratios: dict[str, dict[str, float]] = field(default_factory=dict)
    overhead: dict[str, dict[str, float]] = field(default_factory=dict)
    figures: list[dict[str, Any]] = field(default_factory=list)
    verdict: str = "ours over {name}: {ratio} times as fast"

    def as_dict(self) -> dict[str, Any]:
        """All of it, `ratios` and `overhead` as their medians, their ranges beside them."""
        return {
            "benchmark": self.name,
            "machine": machine(),
            "versions": versions(),
            "settings": self.settings,
            "ratios": {name: spread["median"] for name, spread in self.ratios.items()},
            "overhead": {name: spread["median"] for name, spread in self.overhead.items()},
            "ranges": {name: [spread["low"], spread["high"]] for name, spread in (self.ratios | self.overhead).items()},
            "figures": self.figures,
        }

    def print(self, as_json: bool) -> None:
        """One JSON object, or lines for a reader, on stdout."""
        if as_json:
            print(json.dumps(self.as_dict()))
            return
        print(f"{self.name}: " + ", ".join(f"{key} {value}" for key, value in self.settings.items()))
        for figure in self.figures:
            print("  " + ", ".join(f"{key} {text(value)}" for key, value in figure.items()))
        for name, spread in self.ratios.items():
            print(self.verdict.format(name=name, ratio=text(spread)))
        for name, spread in self.overhead.items():
            print(f"{name}: {100 * spread['median']:.1f}% ({100 * spread['low']:.1f} to {100 * spread['high']:.1f})")


def text(value: object) -> str:
    """A value of a figure for a reader."""
    if isinstance(value, Mapping):
        return f"{value['median']:,.4g} ({value['low']:,.4g} to {value['high']:,.4g})"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def in_turns(
    candidates: Mapping[str, Work], *, rounds: int, seconds: float = 0.5, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds per call of every candidate, one value a round: each is repeated for about `seconds` in each round.

    One call before the first round warms a candidate up and is not counted.
    """
    repeats: dict[str, int] = {}
    for name, work in candidates.items():
        work()
        repeats[name] = max(1, round(seconds / max(timed(work, 1, device), 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, work in candidates.items():
            times[name].append(timed(work, repeats[name], device))
    return times


def timed(work: Work, repeats: int, device: str) -> float:
    """Seconds per call, with the garbage collector held back."""
    gc.collect()
    gc.disable()
    try:
        synchronise(device)
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        synchronise(device)
        return (time.perf_counter() - start) / repeats
    finally:
        gc.enable()


def synchronise(device: str) -> None:
    """Wait until an accelerator has done what it was asked to."""
    if device == "cuda":
        torch.cuda.synchronize()


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratio(peer: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """How many times as fast we are, from seconds of the same rounds."""
    return spread([theirs / own for theirs, own in zip(peer, ours, strict=True)])


def rate(items: float, times: Sequence[float]) -> dict[str, float]:
    """Items a second from seconds per call."""
    return spread([items / seconds for seconds in times])


def growth(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power of the size that the values grow by: the slope of a line through their logarithms."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(value) for value in values]).slope


def extra_memory_mb(work: Work) -> float:
    """The most anonymous memory that a call holds at a time beyond what was held before, looked at every 2 ms.

    Pages of mapped files are not counted: the system takes them back as it needs. Not a number where it is not Linux.
    """
    before = most = anonymous_mb()
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.002):
            most = max(most, anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return most - before


def anonymous_mb() -> float:
    """Resident memory of this process that no file stands behind, in megabytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return math.nan
    return float(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e6


def installed(module: str) -> bool:
    """Whether a peer is there; says on stderr how to get one that is not."""
    there = importlib.util.find_spec(module) is not None
    if not there:
        print(f"{module} is not installed and is left out; pip install -e '.[bench]'", file=sys.stderr)
    return there


def versions() -> dict[str, str]:
    """The versions of what is measured, where installed."""
    found = {}
    for name in ("dsabench", "torch", "torchvision", "lightly", "numpy", "scikit-learn", "kornia", "faiss-cpu"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, object]:
    """The kind of machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kind: dict[str, object] = {"processor": device_name("cpu"), "cores": cores, "load": round(os.getloadavg()[0], 2)}
    if torch.cuda.is_available():
        kind["accelerator"] = device_name("cuda")
    return kind


def arguments(description: str, *, rounds: int = 5) -> argparse.ArgumentParser:
    """The flags that all measurements have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of every candidate")
    parser.add_argument("--rounds", type=int, default=rounds, help="turns that each candidate gets")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes: shows that it runs, measures nothing")
    return parser


def set_threads(threads: int) -> None:
    """The same number of threads for torch and what is built on OpenMP or BLAS."""
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)
