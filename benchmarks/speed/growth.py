"""Every probe and metric alone, on features in a file, at several sizes: seconds, memory, and what they grow by.

python -m benchmarks.speed.growth [--json]; some fifteen minutes on one core. Features of 10 classes are mapped from the
file that a run would store them in; metrics read the rows of the size, probes learn from them and answer for 1,000
more. Seconds are those of the processor (of all threads), which other work on the machine does not lengthen much;
`memory` is the most anonymous memory beyond what was held before: pages of mapped files are given back where it is
short. `power` is the exponent of the rows that the seconds grow by: 0 for what looks at 10,000 of them, however many
there are.

    python -m benchmarks.speed.growth --sizes 1000000 --dim 512 --only cdnv,directional_cdnv
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.speed.measure import Report, Work, arguments, extra_memory_mb, growth, set_threads
from benchmarks.speed.metrics import stored
from dsabench.errors import unknown
from dsabench.evaluators import Evaluator
from dsabench.metrics import METRICS
from dsabench.probes import PROBES
from dsabench.registry import load
from dsabench.types import Features

SIZES, DIM, CLASSES, QUERIES = (50_000, 100_000, 200_000), 128, 10, 1000
SMOKE_SIZES, SMOKE_DIM, SMOKE_QUERIES = (300, 600), 8, 250
SEED = 0
# What grows with the rows of features; a task that shows images to a model does not.
READ = frozenset({"train", "val", "test"})


def main() -> None:
    """Measure every evaluator at every size, and print a line each."""
    parser = arguments(str(__doc__).splitlines()[0], rounds=1)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of rows")
    parser.add_argument("--dim", type=int, default=DIM)
    parser.add_argument("--only", help="names of probes and metrics; all")
    options = parser.parse_args()
    set_threads(options.threads)
    sizes, dim, queries = [int(size) for size in options.sizes.split(",")], options.dim, QUERIES
    if options.smoke:
        sizes, dim, queries = list(SMOKE_SIZES), SMOKE_DIM, SMOKE_QUERIES
    probes = {name: entry for name, entry in PROBES.items() if READ.issuperset(entry.needs)}
    entries: dict[str, Evaluator] = {**METRICS, **probes}
    names = options.only.split(",") if options.only else list(entries)
    report = Report("growth", {"dim": dim, "classes": CLASSES, "queries": queries, "threads": options.threads})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        made = {n: features(path / f"{n}.safetensors", n, dim) for n in sizes}
        small = features(path / "small.safetensors", queries, dim)
        for name in names:
            if name not in entries:
                raise unknown("probe or metric", name, entries)
            work = partial(work_of, name, entries[name])
            # What a first call loads and keeps is not its workspace.
            work(small, small)()
            taken = [costs(work(made[n], small), options.rounds) for n in sizes]
            figure: dict[str, object] = {"name": name}
            for n, (seconds, memory) in zip(sizes, taken, strict=True):
                figure |= {f"{n:,} s": round(seconds, 3), f"{n:,} MB": round(memory)}
            if len(sizes) > 1:
                figure["power"] = round(growth(sizes, [seconds for seconds, _ in taken]), 2)
            report.figures.append(figure)
    report.print(options.json)


def features(path: Path, n: int, dim: int) -> Features:
    """Features (N, D) of 10 overlapping classes, mapped from a file."""
    return Features(*stored(path, n, dim, classes=CLASSES))


def work_of(name: str, entry: Evaluator, rows: Features, queries: Features) -> Work:
    """One evaluation, alone: a metric of the rows, or a probe that learns from them."""
    if entry.kind == "metric":
        metric: Callable[..., object] = load(METRICS, "metric", name)
        return partial(metric, rows.x, rows.y)
    probe: Callable[..., object] = load(PROBES, "probe", name)
    return partial(probe, rows, queries, queries, seed=SEED)


def costs(work: Work, rounds: int) -> tuple[float, float]:
    """The least processor seconds of some rounds, and the most memory in MB."""
    seconds, memory = [], []

    def timed() -> None:
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)

    for _ in range(rounds):
        memory.append(extra_memory_mb(timed))
    return min(seconds), max(memory)


if __name__ == "__main__":
    main()
