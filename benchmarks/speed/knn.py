"""The kNN probe's search beside faiss-cpu's exact index and the bare matrix product, with its memory and its growth.

python -m benchmarks.speed.knn [--json]; about three minutes on two cores. The 20 nearest by cosine of 10,000 queries
in banks of 512 dimensions. Ours takes raw features, and normalising them and settling the candidates in float64 are in
its time; faiss (IndexFlatIP, float32) is given unit rows, and building its index is not. The product is torch's own in
float32, block by block, without looking for any neighbour.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.measure import (
    Report,
    Work,
    arguments,
    extra_memory_mb,
    growth,
    in_turns,
    installed,
    ratio,
    set_threads,
    spread,
)
from dsabench.probes.base import unit_rows
from dsabench.probes.nearest import nearest

BANKS, QUERIES, DIM, K = (10_000, 25_000, 50_000), 10_000, 512, 20
SMOKE_BANKS, SMOKE_QUERIES, SMOKE_DIM = (100, 200, 400), 50, 16
# Rows of a block of the bare product.
BLOCK = 1024


def main() -> None:
    """Measure every size of the bank, and print."""
    options = arguments(str(__doc__).splitlines()[0]).parse_args()
    set_threads(options.threads)
    banks, n, dim = (SMOKE_BANKS, SMOKE_QUERIES, SMOKE_DIM) if options.smoke else (BANKS, QUERIES, DIM)
    rounds = 1 if options.smoke else options.rounds
    settings = {"queries": n, "dim": dim, "k": K, "threads": options.threads, "rounds": rounds}
    report = Report("knn", settings)
    draw = torch.Generator().manual_seed(0)
    queries = torch.randn(n, dim, generator=draw)
    # What a first call loads and keeps is not the search's workspace.
    search(queries[:2], torch.randn(100, dim, generator=draw))
    taken = []
    for rows in banks:
        bank = torch.randn(rows, dim, generator=draw)
        candidates: dict[str, Work] = {
            "ours": partial(search, queries, bank),
            "float32 product": partial(product, queries, bank),
        }
        figure = {"bank": rows, "workspace_mb": extra_memory_mb(candidates["ours"])}
        if installed("faiss"):
            candidates["faiss"] = by_faiss(queries, bank, options.threads)
            figure["same_neighbours"] = agreement(search(queries, bank), candidates["faiss"]())
        times = in_turns(candidates, rounds=rounds, seconds=0)
        taken.append(times)
        report.figures.append({**figure, **{f"{name}_s": spread(seconds) for name, seconds in times.items()}})
    largest = taken[-1]
    if "faiss" in largest:
        report.ratios["faiss"] = ratio(largest["faiss"], largest["ours"])
    report.ratios["float32_product"] = ratio(largest["float32 product"], largest["ours"])
    for name in largest:
        slope = growth(banks, [spread(times[name])["median"] for times in taken])
        report.figures.append({"what": f"{name}: seconds grow with the bank to the power", "growth": slope})
    report.print(options.json)


def search(queries: Tensor, bank: Tensor) -> Tensor:
    """Positions (M, K) of the neighbours."""
    return torch.cat([found for _, found in nearest(queries, bank, K, "cosine")])


def product(queries: Tensor, bank: Tensor) -> None:
    """Every inner product, block by block."""
    for some in torch.split(queries, BLOCK):
        for rows in torch.split(bank, BLOCK):
            some @ rows.T


def by_faiss(queries: Tensor, bank: Tensor, threads: int) -> Work:
    """faiss's search; gives positions (M, K)."""
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(unit_rows(bank).numpy())
    unit = unit_rows(queries).numpy()
    return lambda: index.search(unit, K)[1]


def agreement(ours: Tensor, theirs: object) -> float:
    """The share of neighbours, place by place, that both found."""
    return float(np.mean(ours.numpy() == theirs))


if __name__ == "__main__":
    main()
