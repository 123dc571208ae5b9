"""The options of the optimisation: what a recipe or a spec may say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dsabench.registry import Scalar

OPTIMIZERS = ("sgd", "adam", "adamw", "lars")
SCHEDULES = ("cosine", "step", "constant")


@dataclass(frozen=True)
class OptimizerOptions:
    """What a recipe or a spec may say of the optimisation; raises ValueError for a name or value that cannot be.

    `lr` is multiplied by batch / 256 where `scale_lr` is set. `step` is the published DSA's schedule: x 0.2 at 50 and
    25 epochs before the end of 300, so at 5/6 and 11/12 of training. `eta` is the trust coefficient of LARS.

    `final_lr` is where `cosine` ends, as a share of the peak. `warmup_epochs` are meant for hundreds of epochs; a short
    run warms up for at most the share `longest_warmup` of its steps. What a regularizer learns for itself, as DSA's
    pair network does, learns by AdamW at `regularizer_lr` whatever `optimizer` is: LARS would hardly move scalars.
    """

    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    eta: float = 0.02
    schedule: str = "cosine"
    warmup_epochs: int = 0
    scale_lr: bool = False
    final_lr: float = 1e-3
    longest_warmup: float = 0.1
    regularizer_lr: float = 1e-2

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if self.lr <= 0 or self.weight_decay < 0 or self.warmup_epochs < 0 or not 0 <= self.momentum < 1:
            raise ValueError("lr must be > 0, weight_decay and warmup_epochs >= 0, momentum in [0, 1)")
        if not 0 <= self.final_lr <= 1 or not 0 <= self.longest_warmup <= 1 or self.regularizer_lr <= 0:
            raise ValueError("final_lr and longest_warmup must lie in [0, 1], regularizer_lr must be > 0")


# Options that came after runs existed, each at the value at which it leaves a run's identity.
LATER: Mapping[str, Scalar] = {"final_lr": 1e-3, "longest_warmup": 0.1, "regularizer_lr": 1e-2}
