"""The blocked neighbour search against sorting all float64 scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import dsabench.probes.nearest as module
from benchmarks.speed.measure import extra_memory_mb
from dsabench.probes.nearest import nearest

METRICS = ("cosine", "euclidean")


def normal(n: int, seed: int, dim: int = 24) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


BANK, QUERIES = normal(500, 0), normal(60, 1)


def found(queries: Tensor, bank: Tensor, k: int, metric: str) -> tuple[Tensor, Tensor]:
    scores, positions = zip(*nearest(queries, bank, k, metric), strict=True)  # type: ignore[arg-type]
    return torch.cat(scores), torch.cat(positions)


def by_sorting(queries: Tensor, bank: Tensor, k: int, metric: str) -> tuple[Tensor, Tensor]:
    pairs = queries.double()[:, None], bank.double()[None]
    if metric == "cosine":
        scores = torch.nn.functional.cosine_similarity(*pairs, dim=2)
    else:
        scores = -(pairs[0] - pairs[1]).square().sum(dim=2).sqrt()
    scores, positions = scores.sort(dim=1, descending=True, stable=True)
    return scores[:, :k], positions[:, :k]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PASS_ROWS": 25,
        "QUERY_ROWS": 10,
        "BANK_ROWS": 64,
        "TILE_ROWS": 12,
        "SETTLED_BYTES": 1,
    }.items():
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 20, 499, 500, 600])
def test_scores_and_positions_are_those_of_a_full_sort(metric: str, k: int) -> None:
    scores, positions = found(QUERIES, BANK, k, metric)
    expected = by_sorting(QUERIES, BANK, k, metric)
    torch.testing.assert_close(scores, expected[0], rtol=1e-12, atol=1e-12)
    assert torch.equal(positions, expected[1])


@pytest.mark.parametrize("metric", METRICS)
def test_blocks_do_not_matter(metric: str, request: pytest.FixtureRequest) -> None:
    whole = found(QUERIES, BANK, 20, metric)
    request.getfixturevalue("small_blocks")
    assert [len(positions) for _, positions in nearest(QUERIES, BANK, 20, "cosine")] == [25, 25, 10]
    blocked = found(QUERIES, BANK, 20, metric)
    assert torch.equal(blocked[1], whole[1])
    torch.testing.assert_close(blocked[0], whole[0], rtol=1e-14, atol=0)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_scores_come_in_the_order_of_the_bank(metric: str, small_blocks: None) -> None:
    # Each sample is there four times, far apart: always in other blocks.
    _, positions = found(QUERIES, BANK[:100].repeat(4, 1), 8, metric)
    _, once = by_sorting(QUERIES, BANK[:100], 2, metric)
    assert torch.equal(positions, (once[:, :, None] + 100 * torch.arange(4)).flatten(1))


@pytest.mark.parametrize("metric", METRICS)
def test_what_float32_cannot_tell_apart_is_settled_in_float64(metric: str) -> None:
    # Twelve samples 1e-9 apart about each query, among others that are far.
    centre = normal(5, 2).double()
    direction = torch.nn.functional.normalize(normal(5, 3).double())
    near = (centre[:, None] + 1e-9 * torch.arange(1, 13)[:, None] * direction[:, None]).flatten(0, 1)
    bank = torch.cat([near, BANK.double()])[torch.randperm(560, generator=torch.Generator().manual_seed(4))]
    assert torch.equal(found(centre, bank, 5, metric)[1], by_sorting(centre, bank, 5, metric)[1])


def test_distances_survive_an_offset_and_any_unit() -> None:
    expected = by_sorting(QUERIES, BANK, 5, "euclidean")[1]
    # Powers of two, and an offset that float64 holds: what is near does not change.
    for scale, offset in ((2.0**-120, 0.0), (2.0**60, 0.0), (1.0, 1e6)):
        moved = [rows.double() * scale + offset for rows in (QUERIES, BANK)]
        assert torch.equal(found(*moved, 5, "euclidean")[1], expected)
    # Rounded to float32 first, the neighbours are those of the rounded features.
    moved = [(rows + 1e4).float() for rows in (QUERIES, BANK)]
    assert torch.equal(found(*moved, 5, "euclidean")[1], by_sorting(*moved, 5, "euclidean")[1])


def test_cosine_takes_any_length_and_rows_of_zeros() -> None:
    lengths = torch.logspace(-30, 30, 500)[torch.randperm(500, generator=torch.Generator().manual_seed(5))]
    _, positions = found(QUERIES, BANK * lengths[:, None], 5, "cosine")
    assert torch.equal(positions, by_sorting(QUERIES, BANK, 5, "cosine")[1])
    scores, positions = found(QUERIES[:1] * 0, BANK[:9], 4, "cosine")
    assert positions.tolist() == [[0, 1, 2, 3]]
    assert scores.tolist() == [[0.0] * 4]


def test_without_onednn_the_neighbours_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = found(QUERIES, BANK, 20, "cosine")
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    assert all(torch.equal(*pair) for pair in zip(found(QUERIES, BANK, 20, "cosine"), expected, strict=True))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_the_workspace_is_bounded_whatever_the_number_of_queries() -> None:
    queries, bank = normal(8192, 0, dim=512), normal(100, 1, dim=512)
    found(queries[:2], bank, 20, "cosine")
    assert extra_memory_mb(lambda: found(queries, bank, 20, "cosine")) < 200
