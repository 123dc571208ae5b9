"""Exact nearest neighbours on the CPU: searched in float32 by blocks, settled in float64, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from dsabench.probes.base import unit_rows

# Sizes whose products and copies stay in a processor's caches, and whose workspace is some 200 MiB for any N.
QUERY_ROWS, BANK_ROWS, TILE_ROWS = 1024, 16384, 1024
PASS_ROWS = 8 * QUERY_ROWS
PREPARED_BYTES, SETTLED_BYTES = 64 * 2**20, 4 * 2**20

# So many more candidates than neighbours are looked at again in float64, for float32 rounds to about 1e-7.
MARGIN = 12


class Metric(NamedTuple):
    """What is near. `prepare` maps rows (B, D) to float32 rows and offsets (B,): largest `query . row + offset` is
    nearest, up to rounding. `settle` gives the exact score (B, K) float64 of queries (B, D) and rows (B, K, D)."""

    prepare: Callable[[Tensor], tuple[Tensor, Tensor]]
    settle: Callable[[Tensor, Tensor], Tensor]


def nearest(
    queries: Tensor, bank: Tensor, k: int, metric: Literal["cosine", "euclidean"]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of the `k` nearest of `bank` (N, D) to each of `queries` (M, D), nearest first.

    Each block holds scores (B, k) float64, the cosine or minus the Euclidean distance, and positions (B, k) int64 in
    `bank`, all of it where it is smaller than `k`. Equal scores come in the order of the bank. A neighbour can differ
    from that of an all-float64 search only where more than `MARGIN` others lie within float32 rounding of the last.
    """
    kind = _cosine() if metric == "cosine" else _euclidean(bank)
    k, candidates = min(k, len(bank)), min(k + MARGIN, len(bank))
    for some in torch.split(queries, PASS_ROWS):
        found = _candidates(some, bank, candidates, kind)
        rows = max(1, SETTLED_BYTES // (8 * candidates * bank.shape[1]))
        # Results that are allocated between large blocks would keep the allocator from using these blocks again.
        scores = torch.empty(len(some), k, dtype=torch.float64)
        positions = torch.empty(len(some), k, dtype=torch.int64)
        for start in range(0, len(some), rows):
            block = slice(start, start + rows)
            scores[block], positions[block] = _settle(some[block], found[block], bank, k, kind)
        yield scores, positions


def _candidates(queries: Tensor, bank: Tensor, k: int, metric: Metric) -> Tensor:
    """Positions (M, k) in ascending order of the `k` that are nearest in float32; `k` is at most N."""
    width = bank.shape[1]
    tile = max(1, min(TILE_ROWS, PREPARED_BYTES // (32 * width)))
    segment = max(1, min(BANK_ROWS, PREPARED_BYTES // (4 * width)))
    rows = min(QUERY_ROWS, tile)
    scores = queries.new_empty(rows, min(segment, len(bank)), dtype=torch.float32)
    values = scores.new_full((len(queries), k), -torch.inf)
    positions = torch.zeros(len(queries), k, dtype=torch.int64)
    for start in range(0, len(bank), segment):
        # Prepared once for all the queries of a pass.
        parts = torch.split(bank[start : start + segment], tile)
        tiles = [(_operand(part), offset) for part, offset in map(metric.prepare, parts)]
        for first in range(0, len(queries), rows):
            block = slice(first, first + rows)
            query = _operand(metric.prepare(queries[block])[0])
            end = 0
            for part, offset in tiles:
                begin, end = end, end + len(offset)
                torch.add(linear(query, part).to_dense(), offset, out=scores[: len(query), begin:end])
            new, at = scores[: len(query), :end].topk(min(k, end), dim=1)
            values[block], kept = torch.cat([values[block], new], dim=1).topk(k, dim=1)
            positions[block] = torch.cat([positions[block], at + start], dim=1).gather(1, kept)
    return positions.sort(dim=1).values


def _operand(rows: Tensor) -> Tensor:
    """Rows (B, D) float32 as oneDNN takes them: its products use AVX-512 on every processor, MKL's on Intel's alone."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return rows.to_mkldnn() if available else rows


def _settle(queries: Tensor, found: Tensor, bank: Tensor, k: int, metric: Metric) -> tuple[Tensor, Tensor]:
    """The `k` best of the candidates `found` (B, K), which ascend, by their exact score."""
    rows = bank[found.flatten()].double().view(*found.shape, -1)
    # A stable sort leaves equal scores in the order of the bank.
    scores, order = metric.settle(queries.double(), rows).sort(dim=1, descending=True, stable=True)
    return scores[:, :k], found.gather(1, order[:, :k])


def _cosine() -> Metric:
    def prepare(rows: Tensor) -> tuple[Tensor, Tensor]:
        return unit_rows(rows.double()).float(), torch.zeros(len(rows))

    def settle(queries: Tensor, rows: Tensor) -> Tensor:
        return (unit_rows(rows) * unit_rows(queries)[:, None]).sum(dim=2)

    return Metric(prepare, settle)


def _euclidean(bank: Tensor) -> Metric:
    # Distances know no origin and no unit; about the mean, a float32 does not waste its digits on what all share.
    centre = torch.stack([part.double().sum(dim=0) for part in torch.split(bank, TILE_ROWS)]).sum(dim=0) / len(bank)
    low, high = (float(end) for end in bank.aminmax())
    scale = high - low or 1.0

    def prepare(rows: Tensor) -> tuple[Tensor, Tensor]:
        centred = (rows.double() - centre) / scale
        # -||q - t||^2 / 2 = q.t - ||t||^2 / 2 - ||q||^2 / 2, and the last term is the same for all t.
        return centred.float(), (-centred.square().sum(dim=1) / 2).float()

    def settle(queries: Tensor, rows: Tensor) -> Tensor:
        distances: Tensor = torch.linalg.vector_norm(rows - queries[:, None], dim=2)
        return -distances

    return Metric(prepare, settle)
