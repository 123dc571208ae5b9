"""The core metrics on features in a file: seconds, memory and growth up to a million rows, and scikit-learn's two.

python -m benchmarks.speed.metrics [--json]; about four minutes on two cores, and 2 GB in the temporary folder. Rows of
512 dimensions in 100 classes are mapped from the file that a run would store them in. `pass_s` is reading them and what
needs all of them; `pairs_s` are silhouette and uniformity, on at most 10,000. The peer is scikit-learn's Davies-Bouldin
and Calinski-Harabasz (our Fisher ratio, but for a factor) on the same unit rows in float64, from the second largest
size; ours are timed from the file too, with their own pass. The largest size is measured once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.speed.measure import (
    Report,
    Work,
    arguments,
    extra_memory_mb,
    growth,
    in_turns,
    ratio,
    set_threads,
    spread,
    timed,
)
from dsabench.evaluation.feature_files import stored_form
from dsabench.files import write_atomic
from dsabench.metrics import METRICS
from dsabench.metrics.samples import Metric, Samples
from dsabench.registry import load

SIZES, DIM, CLASSES = (10_000, 100_000, 1_000_000), 512, 100
SMOKE_SIZES, SMOKE_DIM = (300, 600, 1200), 16
BATCH = 4096

PAIRED = ("silhouette", "uniformity")
OF_ALL = tuple(name for name, entry in METRICS.items() if entry.tier == "core" and name not in PAIRED)


def main() -> None:
    """Measure every size, then beside scikit-learn, and print."""
    options = arguments(str(__doc__).splitlines()[0], rounds=3).parse_args()
    set_threads(options.threads)
    sizes, dim = (SMOKE_SIZES, SMOKE_DIM) if options.smoke else (SIZES, DIM)
    rounds = 1 if options.smoke else options.rounds
    report = Report("metrics", {"dim": dim, "classes": CLASSES, "threads": options.threads, "rounds": rounds})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.safetensors"
        # What a first call loads and keeps is not the metrics' workspace.
        everything(*stored(path, sizes[0], dim))
        passes = []
        for n in sizes:
            x, y = stored(path, n, dim)
            memory = extra_memory_mb(partial(everything, x, y))
            seconds = [both(x, y) for _ in range(1 if n == sizes[-1] else rounds)]
            of_pass, of_pairs = (spread(column) for column in zip(*seconds, strict=True))
            passes.append(of_pass["median"])
            figure = {"rows": n, "file_mb": path.stat().st_size / 1e6, "workspace_mb": memory}
            report.figures.append({**figure, "pass_s": of_pass, "pairs_s": of_pairs})
        report.figures.append({"what": "pass_s grows with the rows to the power", "growth": growth(sizes, passes)})
        x, y = stored(path, sizes[-2], dim)
        times = in_turns({"ours": two_of_ours(x, y), "scikit-learn": two_of_theirs(x, y)}, rounds=rounds, seconds=0)
    for name, taken in times.items():
        report.figures.append({"what": f"Davies-Bouldin and Fisher: {name}", "rows": sizes[-2], "s": spread(taken)})
    report.ratios["sklearn"] = ratio(times["scikit-learn"], times["ours"])
    report.print(options.json)


def stored(path: Path, n: int, dim: int, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Features (N, D) float32, mapped from a file that is written anew, and their classes (N,)."""
    draw = torch.Generator().manual_seed(n)
    means = torch.randn(classes, dim, generator=draw)
    y = torch.arange(n) % classes

    def batches() -> Iterator[Tensor]:
        for codes in torch.split(y, BATCH):
            yield means[codes] + torch.randn(len(codes), dim, generator=draw)

    write_atomic(path, stored_form(batches(), y))
    return load_file(path)["x"], y


def metric(name: str) -> Metric:
    """A metric of the registry."""
    found: Metric = load(METRICS, "metric", name)
    return found


def everything(x: Tensor, y: Tensor) -> None:
    """The core metrics, as `dsabench.metrics.measure` computes them."""
    of_all(samples := Samples(x, y))
    of_pairs(samples)


def of_all(samples: Samples) -> None:
    """The core metrics that need every row."""
    samples.read_once()
    for name in OF_ALL:
        metric(name).of(samples)


def of_pairs(samples: Samples) -> None:
    """The metrics that look at pairs, on their subsample."""
    for name in PAIRED:
        metric(name).of(samples)


def both(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Seconds for checking, reading and what needs every row, and for the pairs."""
    made: list[Samples] = []

    def first() -> None:
        made.append(Samples(x, y))
        of_all(made[0])

    return timed(first, 1, "cpu"), timed(lambda: of_pairs(made[0]), 1, "cpu")


def two_of_ours(x: Tensor, y: Tensor) -> Work:
    """The two that scikit-learn has too, which share a pass."""

    def work() -> object:
        samples = Samples(x, y)
        return [metric(name).of(samples) for name in ("davies_bouldin", "fisher_ratio")]

    return work


def two_of_theirs(x: Tensor, y: Tensor) -> Work:
    """scikit-learn's, in the same precision, from the same file."""
    from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score
    from sklearn.preprocessing import normalize

    codes: np.ndarray[Any, Any] = y.numpy()

    def work() -> object:
        unit = normalize(x.double().numpy(), copy=False)
        return [davies_bouldin_score(unit, codes), calinski_harabasz_score(unit, codes)]

    return work


if __name__ == "__main__":
    main()
