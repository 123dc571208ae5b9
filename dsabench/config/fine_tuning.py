"""The configuration of fine-tuning: a supervised run that begins with the weights of an encoder."""

from __future__ import annotations

import dataclasses
from typing import Literal

from dsabench.config.optimization import OptimizerOptions
from dsabench.config.run_config import Resolved, RunConfig
from dsabench.config.spec import Part, Spec
from dsabench.data.data_config import DataConfig

Device = Literal["cpu", "cuda", "mps"]


def fine_tuning(
    data: DataConfig,
    backbone: str,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    device: Device,
    threads: int,
    views: str,
) -> RunConfig:
    """AdamW on cross-entropy of a linear classifier and all of the backbone, along a cosine from `lr`.

    `views` names the policy of the two views of an image, over which the loss is a mean.
    """
    options = OptimizerOptions(optimizer="adamw", lr=lr, weight_decay=1e-4)
    return RunConfig(
        data=data,
        spec=Spec(Part("supervised", {"lr": lr})),
        backbone=backbone,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        device=device,
        precision="fp32",
        threads=threads,
        deterministic=True,
        resolved=Resolved(
            method={"label_smoothing": 0.0},
            regularizer={},
            optimizer=dataclasses.asdict(options),
            views=views,
        ),
    )
