"""Embeddings from a file to values: dsabench beside the plain script of NumPy and scikit-learn that one would write.

Each side runs in a process of its own, which reports its seconds and its peak memory. `anonymous` memory is what a
process cannot give back; pages of a mapped file are dropped where memory is short, and are in `resident` alone.

    python -m benchmarks.speed.embeddings --rows 100000 --dim 256
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.measure import Report, arguments, ratio, spread

CLASSES = 10
PROBES = ("knn", "crowding", "fewshot")
SIDES = ("ours", "plain")
# Processor time, of all threads, is what a busy machine does not lengthen much.
MEASURED = ("seconds", "processor_s", "anonymous_mb", "resident_mb")


def main() -> None:
    """Make the embeddings, measure both sides in turns, and print what was found."""
    parser = arguments(__doc__.splitlines()[0], rounds=1)
    parser.add_argument("--rows", type=int, default=100_000, help="training rows")
    parser.add_argument("--test-rows", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="where the embeddings are written; a temporary folder")
    parser.add_argument("--probes", default=",".join(PROBES), help="what both measure")
    parser.add_argument("--only", choices=SIDES, help="one of the two")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measured(options.side, options.folder, options.probes.split(","), options.threads)))
        return
    if options.smoke:
        options.rows, options.test_rows, options.dim, options.rounds = 600, 200, 8, 1
    settings = {name: getattr(options, name) for name in ("rows", "test_rows", "dim", "probes", "threads", "rounds")}
    report = Report("embeddings", settings)
    sides = SIDES if options.only is None else (options.only,)
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        make(folder, options.rows, options.test_rows, options.dim)
        for _ in range(options.rounds):
            for side in sides:
                found[side].append(in_process(side, folder, options.probes, options.threads))
    for side, rounds in found.items():
        spreads = {name: spread([one[name] for one in rounds]) for name in MEASURED}
        report.figures.append({"side": side, **spreads, **rounds[0]["values"]})
    if options.only is None:
        seconds = {side: [one["seconds"] for one in rounds] for side, rounds in found.items()}
        report.ratios["a plain script"] = ratio(seconds["plain"], seconds["ours"])
    report.print(options.json)


def in_process(side: str, folder: Path, probes: str, threads: int) -> dict[str, Any]:
    """`measured` in a process of its own; RuntimeError with its last line where it fails."""
    command = [sys.executable, "-m", "benchmarks.speed.embeddings", "--side", side, "--folder", str(folder)]
    command += ["--probes", probes, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{side}: {done.stderr.strip() or done.returncode}")
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def make(folder: Path, rows: int, test_rows: int, dim: int) -> None:
    """Write `x_train.npy` and the others, block by block: classes about means of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    means = generator.standard_normal((CLASSES, dim)).astype(np.float32)
    for split, n in (("train", rows), ("test", test_rows)):
        y = generator.integers(CLASSES, size=n)
        np.save(folder / f"y_{split}.npy", y)
        x = np.lib.format.open_memmap(folder / f"x_{split}.npy", "w+", np.float32, (n, dim))
        for start in range(0, n, 10_000):
            part = y[start : start + 10_000]
            x[start : start + 10_000] = means[part] + 3 * generator.standard_normal((len(part), dim), dtype=np.float32)
        x.flush()


def measured(side: str, folder: Path, probes: list[str], threads: int) -> dict[str, Any]:
    """Seconds on the clock and of the processor, peak memory in MB and the values of one side."""
    from threadpoolctl import threadpool_limits

    peak = Peak()
    start, start_cpu = time.perf_counter(), time.process_time()
    with threadpool_limits(threads):
        values = (ours if side == "ours" else plain)(folder, probes, threads)
    spent = {"seconds": time.perf_counter() - start, "processor_s": time.process_time() - start_cpu}
    return {**spent, **peak.stop(), "values": values}


class Peak:
    """The most memory that this process had, looked at ten times a second."""

    def __init__(self) -> None:
        self.most = {"resident_mb": 0, "anonymous_mb": 0}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        names = {"VmRSS": "resident_mb", "RssAnon": "anonymous_mb"}
        while not self.ended.wait(0.1):
            for line in Path("/proc/self/status").read_text().splitlines():
                key, _, value = line.partition(":")
                if key in names:
                    self.most[names[key]] = max(self.most[names[key]], int(value.split()[0]) // 1024)

    def stop(self) -> dict[str, int]:
        """The peaks in MB."""
        self.ended.set()
        self.thread.join()
        return self.most


def ours(folder: Path, probes: list[str], threads: int) -> dict[str, float]:
    """What `dsabench eval --features` computes."""
    import torch

    from dsabench.config.eval_config import EvalConfig
    from dsabench.config.source import parse_sources
    from dsabench.data import Datasets
    from dsabench.evaluation.encoders import source_encoders
    from dsabench.evaluation.evaluate import evaluate
    from dsabench.signals import Stop

    torch.set_num_threads(threads)
    (encoder,) = source_encoders(parse_sources(features=[str(folder)]), Datasets(offline=True))
    rows = evaluate(encoder, EvalConfig(tuple(probes), threads=threads), Datasets(offline=True), stop=Stop())
    return {f"{row.probe} {row.metric} {row.probe_params}": round(row.value or 0, 6) for row in rows}


def plain(folder: Path, probes: list[str], threads: int) -> dict[str, float]:
    """The same by arrays in memory, scikit-learn's classifiers and its metrics, as a script has them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import davies_bouldin_score, silhouette_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler, normalize

    x_train, y_train, x_test, y_test = (
        np.load(folder / f"{n}.npy") for n in ("x_train", "y_train", "x_test", "y_test")
    )
    values: dict[str, float] = {}
    unit_train, unit_test = normalize(x_train), normalize(x_test)
    if "knn" in probes:
        knn = KNeighborsClassifier(
            20, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / 0.07)
        )
        values["knn"] = float(knn.fit(unit_train, y_train).score(unit_test, y_test))
    if "crowding" in probes:
        means = np.stack([unit_test[y_test == c].mean(0) for c in range(CLASSES)])
        variances = np.array([((unit_test[y_test == c] - means[c]) ** 2).sum(1).mean() for c in range(CLASSES)])
        distances = ((means[:, None] - means) ** 2).sum(2)
        ratios = (variances[:, None] + variances) / (2 * distances + np.eye(CLASSES))
        values["cdnv"] = float(ratios[~np.eye(CLASSES, dtype=bool)].mean())
        values["silhouette"] = float(silhouette_score(unit_test, y_test))
        values["davies_bouldin"] = float(davies_bouldin_score(unit_test, y_test))
    if "linear" in probes:
        scaler = StandardScaler().fit(x_train)
        model = LogisticRegression(max_iter=2000).fit(scaler.transform(x_train), y_train)
        values["linear"] = float(model.score(scaler.transform(x_test), y_test))
    return {name: round(value, 6) for name, value in values.items()}


if __name__ == "__main__":
    main()
