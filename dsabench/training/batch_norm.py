"""Batch norm over the global batch, on any device and in any precision: torch's own SyncBatchNorm is CUDA's alone.

Statistics are those of all processes together, so that a run means the same on any number of them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

# What timm's batch norms do behind the normalisation.
AFTERWARDS = ("drop", "act")


def use_global_batch(module: nn.Module) -> None:
    """Let every batch norm in `module` see the batch of all processes; names and values of its state stay."""
    for part in module.modules():
        if isinstance(part, _BatchNorm) and not isinstance(part, GlobalBatchNorm):
            kind: Any = type(part)
            part.__class__ = _global(kind)


class GlobalBatchNorm:
    """What `use_global_batch` puts before the class of a batch norm. A process may have no image at all."""

    def forward(self: Any, x: Tensor) -> Tensor:
        if not self.training:
            plain: Tensor = super().forward(x)  # type: ignore[misc]
            return plain
        normalised, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            self.follow(mean, variance * (count / (count - 1)))
        for name in AFTERWARDS:
            normalised = getattr(self, name, nn.Identity())(normalised)
        return normalised  # type: ignore[no-any-return]

    @torch.no_grad()
    def follow(self: Any, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as torch does."""
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.mul_(1.0 - share).add_(mean.to(self.running_mean.dtype), alpha=share)
        self.running_var.mul_(1.0 - share).add_(variance.to(self.running_var.dtype), alpha=share)


@cache
def _global(kind: Any) -> Any:
    return type(kind.__name__, (GlobalBatchNorm, kind), {})


class _Normalise(torch.autograd.Function):
    """x (B, C, ...) normalised per channel; mean (C,), biased variance (C,) and count () of all processes.

    The gradient for x needs two sums over all processes, that of dy and of dy times the normalised x; those for the
    weight and the bias are of the rows at hand, as any other parameter's are.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        axes = [0, *range(2, x.ndim)]
        channels = x.shape[1]
        wide = x if x.dtype == torch.float64 else x.float()
        own = wide.new_zeros(2 * channels + 1)
        if len(x):
            own[:channels] = wide.mean(axes)
            own[channels:-1] = wide.var(axes, correction=0)
            own[-1] = x.numel() // channels
        every = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(every, own)
        stacked = torch.stack(every)
        means, variances, counts = stacked[:, :channels], stacked[:, channels:-1], stacked[:, -1:]
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        # The variance within the processes and that of their means.
        variance = (counts * (variances + (means - mean).square())).sum(0) / count
        ctx.axes = axes
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + eps), count)
        ctx.mark_non_differentiable(mean, variance, count)
        y = batch_norm(x, mean, variance, weight, bias, training=False, momentum=0.0, eps=eps) if len(x) else x.clone()
        return y, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        shape = [1, -1, *[1] * (x.ndim - 2)]
        unit = (x - mean.view(shape)) * scale.view(shape)
        d_wide = d_y.to(unit.dtype)
        d_bias, d_weight = d_wide.sum(ctx.axes), (d_wide * unit).sum(ctx.axes)
        sums = torch.stack([d_bias, d_weight])
        torch.distributed.all_reduce(sums)
        sums /= count
        gain = scale if weight is None else scale * weight
        d_x = (d_wide - sums[0].view(shape) - unit * sums[1].view(shape)) * gain.view(shape)
        own = (d_weight.to(weight.dtype), d_bias.to(weight.dtype)) if weight is not None else (None, None)
        return d_x.to(x.dtype), *own, None
