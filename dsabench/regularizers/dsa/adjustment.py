"""Both terms of DSA in one pass over the pairs of a batch.

`pair_terms` computes the value of `definitions.adjustment_loss`, and the distance of M from the prior, block of rows by
block of rows with their gradients written out: a third of the work of autograd, and memory for two blocks however large
the batch is. What has to learn through the similarity uses the definition.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dsabench.gather import largest_over_processes, own_rows, sum_over_processes, world_size
from dsabench.regularizers.dsa.definitions import COINCIDENT_EPS
from dsabench.regularizers.dsa.pairs import PairNetwork

# Pairs that are looked at together, a block holding about five numbers for each: on a processor what fits its cache, on
# an accelerator as many as keep it busy.
BLOCK = 2**18
BLOCK_ON_ACCELERATOR = 2**24


class PairTerms(NamedTuple):
    """`adjustment` (), `distance` () and `similar` (R, N) bool: the cross-view pairs with M > 1/2."""

    adjustment: Tensor
    distance: Tensor
    similar: Tensor


def pair_terms(
    z: Tensor,
    prior: Tensor,
    scores: Tensor,
    network: PairNetwork | None,
    *,
    temperature: float,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> PairTerms:
    """Both terms of DSA for embeddings `z` (2N, D), the views stacked, a symmetric `prior` (N, N) and `scores` (N,).

    With M = network(z) of the detached embeddings, or M = prior without a network, and T the prior in all four blocks:
    `adjustment` is `adjustment_loss` of M clamped to `bounds` and detached, with a gradient for z alone; `distance` is
    the root mean square of M - T, with a gradient for the network alone (0 where M = T, as a norm's is).

    Of several processes each brings all embeddings and scores, and of the prior the rows (R, N) of its own images; it
    looks at the pairs of those alone, and the sums are put together. Its gradient is that part of the whole that its
    rows have, times the number of processes, for their mean is what counts (`gather`).
    """
    unit = functional.normalize(z, dim=1)
    if network is None:
        return PairTerms(*_PairSums.apply(unit, None, None, None, prior, scores, temperature, bounds))
    g, slope, offset = network.parts(z.detach())
    return PairTerms(*_PairSums.apply(unit, g, slope, offset, prior, scores, temperature, bounds))


class _PairSums(torch.autograd.Function):
    """The sums of `pair_terms` over unit rows, with M = sigmoid(slope g g^T + offset)."""

    @staticmethod
    def forward(
        ctx: Any,
        unit: Tensor,
        g: Tensor | None,
        slope: Tensor | None,
        offset: Tensor | None,
        prior: Tensor,
        scores: Tensor,
        temperature: float,
        bounds: tuple[float, float],
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, images = len(unit), prior.shape[1]
        here = own_rows(len(prior))
        pull = 2.0 * scores / temperature
        two = unit.new_full((1, 1), 2.0)
        coincident = COINCIDENT_EPS * torch.finfo(unit.dtype).eps
        similar = torch.zeros(len(prior), images, dtype=torch.bool, device=unit.device)
        # exp(peak) is taken out of `total` and `d_unit`, so that a small temperature does not overflow.
        peak, total = unit.new_full((), -torch.inf), unit.new_zeros(())
        squares, d_slope, d_offset = unit.new_zeros(()), unit.new_zeros(()), unit.new_zeros(())
        d_unit = torch.zeros_like(unit) if ctx.needs_input_grad[0] else None
        d_g = torch.zeros_like(g) if g is not None else None
        for block in blocks(rows, here, unit.device):
            start = block.start
            image = torch.arange(start, block.stop, device=unit.device) % images
            own = image - here.start
            if g is None or slope is None or offset is None or d_g is None:
                m = prior[own].repeat(1, 2)
            else:
                m = torch.addmm(offset, slope * g[block], g.T).sigmoid_()
                gap = (m.view(-1, 2, images) - prior[own][:, None]).view(-1, rows)
                squares = squares + torch.linalg.vector_norm(gap).square()
                # By the logits, of half the squares; symmetric, so that a row of g meets each pair twice.
                gap.mul_(torch.addcmul(m, m, m, value=-1.0))
                drawn = gap @ g
                d_g[block] = 2.0 * slope * drawn
                d_slope, d_offset = d_slope + (g[block] * drawn).sum(), d_offset + gap.sum()
            first = max(0, min(block.stop, images) - start)
            torch.gt(m[:first, images:], 0.5, out=similar[start - here.start :][:first])
            weight = (m if bounds == (0.0, 1.0) else m.clamp_(*bounds)).sub_(0.5).mul_(pull[image][:, None])
            distance = torch.addmm(two, unit[block], unit.T, alpha=-2.0)
            torch.threshold_(distance, coincident, 0.0).sqrt_()
            exponent = weight * distance
            exponent.diagonal(start).fill_(-torch.inf)
            higher = torch.maximum(peak, exponent.max())
            fade, share = torch.exp(peak - higher), exponent.sub_(higher).exp_()
            peak, total = higher, total * fade + share.sum()
            if d_unit is not None:
                # Of the cosine: the distance is sqrt(2 - 2 cos), and its slope there -1 / distance.
                slopes = share.mul_(weight).div_(distance).masked_fill_(distance == 0.0, 0.0)
                d_unit.mul_(fade).addmm_(slopes.T, unit[block], alpha=-1.0)
                d_unit[block].addmm_(slopes, unit, alpha=-1.0)
        higher = largest_over_processes(peak)
        fade = torch.exp(peak - higher)
        peak, total = higher, sum_over_processes(total * fade)
        if d_unit is not None and world_size() > 1:
            d_unit.mul_(fade * world_size())
        squares = sum_over_processes(squares)
        log_mean = peak + torch.log(total) - 2.0 * math.log(rows)
        norm = squares.sqrt()
        # Of the norm / rows; where M = T there is nothing to draw to.
        per_square = torch.where(norm > 0, world_size() / (norm * rows), torch.zeros_like(norm))
        ctx.save_for_backward(
            None if d_unit is None else d_unit.mul_(torch.sigmoid(log_mean) / total),
            None if d_g is None else d_g.mul_(per_square),
            d_slope * per_square,
            d_offset * per_square,
        )
        # An image and itself is no pair.
        similar.diagonal(here.start).fill_(False)
        ctx.mark_non_differentiable(similar)
        # A term that is not in the loss gives no gradient, rather than one of zeros.
        ctx.set_materialize_grads(False)
        return torch.logaddexp(log_mean, torch.zeros_like(log_mean)), norm / rows, similar

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_adjustment: Tensor | None, d_distance: Tensor | None, _: Tensor
    ) -> tuple[Tensor | None, ...]:
        d_unit, *d_network = ctx.saved_tensors
        return (
            None if d_unit is None or d_adjustment is None else d_adjustment * d_unit,
            *(None if d_network[0] is None or d_distance is None else d_distance * part for part in d_network),
            *(None, None, None, None),
        )


def blocks(rows: int, here: slice, device: torch.device) -> Iterator[slice]:
    """The blocks of the rows of the images `here`, which are those of one view after those of the other, of `rows`."""
    step = max(1, (BLOCK if device.type == "cpu" else BLOCK_ON_ACCELERATOR) // rows)
    images = rows // 2
    # One process has no gap between the views, and its blocks reach across.
    spans = [(0, rows)] if here == slice(0, images) else [(view + here.start, view + here.stop) for view in (0, images)]
    for first, last in spans:
        for start in range(first, last, step):
            yield slice(start, min(start + step, last))
