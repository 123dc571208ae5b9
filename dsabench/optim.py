"""Optimisers and learning-rate schedules by name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightly.models.utils import get_weight_decay_parameters
from lightly.utils.lars import LARS
from lightly.utils.scheduler import cosine_warmup_schedule
from torch import nn

OPTIMIZERS = ("sgd", "adam", "adamw", "lars")
SCHEDULES = ("cosine", "step", "constant")

# A warm-up of so many epochs is meant for hundreds of them; a short run warms up for at most this share.
LONGEST_WARMUP = 0.1


@dataclass(frozen=True)
class OptimizerOptions:
    """What a recipe or a spec may say of the optimisation; raises ValueError for a name or value that cannot be.

    `lr` is multiplied by batch / 256 where `scale_lr` is set. `step` is the published DSA's schedule: x 0.2 at 50 and
    25 epochs before the end of 300, so at 5/6 and 11/12 of training. `eta` is the trust coefficient of LARS.
    """

    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    eta: float = 0.02
    schedule: str = "cosine"
    warmup_epochs: int = 0
    scale_lr: bool = False

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if self.lr <= 0 or self.weight_decay < 0 or self.warmup_epochs < 0 or not 0 <= self.momentum < 1:
            raise ValueError("lr must be > 0, weight_decay and warmup_epochs >= 0, momentum in [0, 1)")


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


def learning_rate(options: OptimizerOptions, step: int, total_steps: int, epochs: int, batch_size: int) -> float:
    """The learning rate of a step: a pure function, so that a resumed run has no scheduler to restore."""
    peak = options.lr * (batch_size / 256 if options.scale_lr else 1.0)
    warmup = round(total_steps * min(options.warmup_epochs / max(1, epochs), LONGEST_WARMUP))
    if options.schedule == "cosine":
        share: float = cosine_warmup_schedule(
            step, total_steps, start_value=1.0, end_value=0.001, warmup_steps=warmup, warmup_start_value=0.0
        )
        return peak * share
    ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if options.schedule == "constant":
        return peak * ramp
    drops = (step >= total_steps * 5 / 6) + (step >= total_steps * 11 / 12)
    return peak * ramp * 0.2**drops
