"""Both terms of DSA in one pass over the pairs of a batch.

`pair_terms` computes the value of `definitions.adjustment_loss`, and the distance of M from the prior, block of rows by
block of rows with their gradients written out: a third of the work of autograd, and memory for two blocks however large
the batch is. What has to learn through the similarity uses the definition.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dsabench.regularizers.dsa.definitions import COINCIDENT_EPS
from dsabench.regularizers.dsa.pairs import PairNetwork

# Pairs that are looked at together, a block holding about five numbers for each: on a processor what fits its cache, on
# an accelerator as many as keep it busy.
BLOCK = 2**18
BLOCK_ON_ACCELERATOR = 2**24


class PairTerms(NamedTuple):
    """`adjustment` (), `distance` () and `similar` (N, N) bool: the cross-view pairs with M > 1/2."""

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
        rows, images = len(unit), len(prior)
        pull = 2.0 * scores / temperature
        two = unit.new_full((1, 1), 2.0)
        coincident = COINCIDENT_EPS * torch.finfo(unit.dtype).eps
        similar = torch.zeros(images, images, dtype=torch.bool, device=unit.device)
        # exp(peak) is taken out of `total` and `d_unit`, so that a small temperature does not overflow.
        peak, total = unit.new_full((), -torch.inf), unit.new_zeros(())
        squares, d_slope, d_offset = unit.new_zeros(()), unit.new_zeros(()), unit.new_zeros(())
        d_unit = torch.zeros_like(unit) if ctx.needs_input_grad[0] else None
        d_g = torch.empty_like(g) if g is not None else None
        step = max(1, (BLOCK if unit.device.type == "cpu" else BLOCK_ON_ACCELERATOR) // rows)
        for start in range(0, rows, step):
            block = slice(start, min(start + step, rows))
            image = torch.arange(block.start, block.stop, device=unit.device) % images
            if g is None or slope is None or offset is None or d_g is None:
                m = prior[image].repeat(1, 2)
            else:
                m = torch.addmm(offset, slope * g[block], g.T).sigmoid_()
                gap = (m.view(-1, 2, images) - prior[image][:, None]).view(-1, rows)
                squares = squares + torch.linalg.vector_norm(gap).square()
                # By the logits, of half the squares; symmetric, so that a row of g meets each pair twice.
                gap.mul_(torch.addcmul(m, m, m, value=-1.0))
                drawn = gap @ g
                d_g[block] = 2.0 * slope * drawn
                d_slope, d_offset = d_slope + (g[block] * drawn).sum(), d_offset + gap.sum()
            first = max(0, min(block.stop, images) - start)
            torch.gt(m[:first, images:], 0.5, out=similar[start : start + first])
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
        log_mean = peak + torch.log(total) - 2.0 * math.log(rows)
        norm = squares.sqrt()
        # Of the norm / rows; where M = T there is nothing to draw to.
        per_square = torch.where(norm > 0, 1.0 / (norm * rows), torch.zeros_like(norm))
        ctx.save_for_backward(
            None if d_unit is None else d_unit.mul_(torch.sigmoid(log_mean) / total),
            None if d_g is None else d_g.mul_(per_square),
            d_slope * per_square,
            d_offset * per_square,
        )
        ctx.mark_non_differentiable(similar)
        # A term that is not in the loss gives no gradient, rather than one of zeros.
        ctx.set_materialize_grads(False)
        return torch.logaddexp(log_mean, torch.zeros_like(log_mean)), norm / rows, similar.fill_diagonal_(False)

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
