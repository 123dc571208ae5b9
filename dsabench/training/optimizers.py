"""Optimisers and learning-rate schedules by name."""

from __future__ import annotations

import torch
from lightly.models.utils import get_weight_decay_parameters
from lightly.utils.lars import LARS
from lightly.utils.scheduler import cosine_warmup_schedule
from torch import nn

from dsabench.config.optimization import OptimizerOptions


def build_optimizer(module: nn.Module, options: OptimizerOptions, *, fused: bool = False) -> torch.optim.Optimizer:
    """The optimiser of a method's trainable parameters; biases and norms are not decayed, nor scaled by LARS.

    `fused` asks for one kernel for all parameters, where the optimiser has one (all but LARS); it rounds differently.
    """
    decayed, plain = get_weight_decay_parameters([module])
    groups = [
        {"params": [p for p in decayed if p.requires_grad], "weight_decay": options.weight_decay},
        {"params": [p for p in plain if p.requires_grad], "weight_decay": 0.0},
    ]
    match options.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum, fused=fused)
        case "adam":
            return torch.optim.Adam(groups, lr=options.lr, fused=fused)
        case "adamw":
            return torch.optim.AdamW(groups, lr=options.lr, fused=fused)
        case _:
            lars: torch.optim.Optimizer = LARS(
                groups, lr=options.lr, momentum=options.momentum, trust_coefficient=options.eta
            )
            return lars


def build_regularizer_optimizer(
    module: nn.Module, options: OptimizerOptions, *, fused: bool = False
) -> torch.optim.Optimizer:
    """AdamW for what a regularizer learns, at `regularizer_lr` throughout and without decay; `fused` as above."""
    own = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(own, lr=options.regularizer_lr, weight_decay=0.0, fused=fused)


def learning_rate(options: OptimizerOptions, step: int, total_steps: int, epochs: int, batch_size: int) -> float:
    """The learning rate of a step: a pure function, so that a resumed run has no scheduler to restore."""
    peak = options.lr * (batch_size / 256 if options.scale_lr else 1.0)
    warmup = round(total_steps * min(options.warmup_epochs / max(1, epochs), options.longest_warmup))
    if options.schedule == "cosine":
        share: float = cosine_warmup_schedule(
            step,
            total_steps,
            start_value=1.0,
            end_value=options.final_lr,
            warmup_steps=warmup,
            warmup_start_value=0.0,
        )
        return peak * share
    ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if options.schedule == "constant":
        return peak * ramp
    drops = (step >= total_steps * 5 / 6) + (step >= total_steps * 11 / 12)
    return peak * ramp * 0.2**drops
