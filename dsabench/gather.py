"""The rows of a batch that is spread over several processes, in equal shares.

What a process computes of its loss counts once for each: the loss of a run is the mean of those of its processes, and
so is its gradient. A term that every process computes from gathered rows is therefore whole in each of them.
"""

from __future__ import annotations

import torch
from lightly.utils import dist
from torch import Tensor


def rank() -> int:
    """This process's number; 0 where there is one."""
    return int(dist.rank())


def world_size() -> int:
    """How many processes there are."""
    return int(dist.world_size())


def gather_rows(x: Tensor) -> Tensor:
    """The rows of all processes in rank order, with their gradients; `x` itself where there is one process."""
    return torch.cat(dist.gather(x.contiguous())) if world_size() > 1 else x


def own_rows(rows: int) -> slice:
    """Which of the gathered rows are this process's, `rows` of each: all where there is one process."""
    start = rank() * rows
    return slice(start, start + rows)


def share_of(n: int) -> slice:
    """This process's share of `n` things that need not divide evenly; `gather_share` puts the results together."""
    return slice(n * rank() // world_size(), n * (rank() + 1) // world_size())


@torch.no_grad()
def gather_share(rows: Tensor, n: int) -> Tensor:
    """The results (n, ...) of all `n` things in their order, from those of each process's `share_of`; no gradients."""
    size = world_size()
    if size == 1:
        return rows
    # A collective wants equal shapes; what fills them up is cut off again.
    padded = rows.new_zeros((-(-n // size), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(size)]
    torch.distributed.all_gather(parts, padded)
    shares = (n * (one + 1) // size - n * one // size for one in range(size))
    return torch.cat([part[:share] for part, share in zip(parts, shares, strict=True)])


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum over the processes of a tensor of one shape, the same in each of them; no gradients."""
    if world_size() == 1:
        return x
    total = x.detach().clone()
    torch.distributed.all_reduce(total)
    return total


def largest_over_processes(x: Tensor) -> Tensor:
    """The largest over the processes, element by element, of a tensor of one shape; no gradients."""
    if world_size() == 1:
        return x
    largest = x.detach().clone()
    torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
    return largest
