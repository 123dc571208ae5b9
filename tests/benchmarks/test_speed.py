"""Every speed measurement runs at its smallest size and prints what a reader of its JSON needs; no time is judged."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.speed.measure import extra_memory_mb, growth, in_turns, rate, ratio, spread

ROOT = Path(__file__).resolve().parents[2]
MODULES = [
    path.stem for path in sorted((ROOT / "benchmarks" / "speed").glob("*.py")) if "def main(" in path.read_text("utf-8")
]
# A page has no peer to be measured beside, and what something grows by none.
WITHOUT_PEER = {"report", "growth"}
KEYS = {"benchmark", "machine", "versions", "settings", "ratios", "overhead", "ranges", "figures"}


def numbers(value: object) -> list[float]:
    """All numbers in a JSON value."""
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in numbers(inner)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.parametrize("name", MODULES)
def test_a_measurement_runs_and_prints_json(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.speed.{name}", "--smoke", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == KEYS
    assert found["benchmark"] == name
    assert {"dsabench", "torch", "numpy"} <= set(found["versions"])
    assert found["figures"]
    assert found["ratios"] or found["overhead"] or name in WITHOUT_PEER
    for key, value in found["ratios"].items():
        low, high = found["ranges"][key]
        assert 0 < low <= value <= high < math.inf, key
    for key, value in found["overhead"].items():
        low, high = found["ranges"][key]
        assert low <= value <= high, key
    assert all(math.isfinite(number) for number in numbers(found))


def test_the_neighbours_are_those_of_faiss() -> None:
    pytest.importorskip("faiss")
    from benchmarks.speed.knn import agreement, by_faiss, search

    draw = torch.Generator().manual_seed(0)
    queries, bank = torch.randn(30, 16, generator=draw), torch.randn(500, 16, generator=draw)
    assert agreement(search(queries, bank), by_faiss(queries, bank, 1)()) == 1


def test_the_metrics_are_scikit_learns() -> None:
    from benchmarks.speed.metrics import two_of_ours, two_of_theirs

    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 8, generator=draw), torch.arange(200) % 5
    ours, theirs = two_of_ours(x, y)(), two_of_theirs(x, y)()
    # Calinski and Harabasz divide each scatter by its degrees of freedom.
    assert ours == pytest.approx([theirs[0], theirs[1] * (5 - 1) / (200 - 5)], rel=1e-9)


def test_candidates_take_turns_and_a_ratio_is_of_one_round() -> None:
    calls = []
    times = in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=3, seconds=0)
    assert calls == ["a", "a", "b", "b", *"ababab"]
    assert [len(values) for values in times.values()] == [3, 3]
    assert ratio([2.0, 9.0, 8.0], [1.0, 3.0, 2.0]) == {"median": 3.0, "low": 2.0, "high": 4.0}
    assert rate(10, [1.0, 2.0]) == spread([10.0, 5.0])


def test_growth_is_the_power_of_the_size() -> None:
    assert growth([10, 100, 1000], [3 * n**1.5 for n in (10, 100, 1000)]) == pytest.approx(1.5)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_extra_memory_sees_what_a_call_gives_back() -> None:
    def work() -> None:
        for _ in range(10):
            torch.ones(20_000_000).sum()

    assert 60 < extra_memory_mb(work) < 200
