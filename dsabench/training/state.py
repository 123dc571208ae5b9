"""The state of a training run: its modules, its optimisers and its position, wherever the run is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dsabench.backbones.base import Backbone
from dsabench.config.optimization import OptimizerOptions
from dsabench.config.run_config import RunConfig
from dsabench.data.dataset import Dataset
from dsabench.data.loader import steps_per_epoch
from dsabench.training.batch_norm import use_global_batch
from dsabench.training.build import build_method, build_regularizer
from dsabench.training.checkpoint import module_state, optimizer_state, restore_module, restore_optimizer
from dsabench.training.optimizers import build_optimizer, build_regularizer_optimizer, learning_rate
from dsabench.training.position import Position
from dsabench.training.ranks import Engine, Ranks

# Steps whose losses are looked at together on an accelerator, where asking for a value waits for all work before it.
LOOK_EVERY = 50


class State:
    """Everything that training changes, at its beginning.

    `method` and `regularizer` are the modules, `forward_method` and `forward_regularizer` the same as several processes
    call them. A `backbone` that is given is trained on from where it stands. Raises UsageError for options that the
    modules refuse.
    """

    def __init__(self, config: RunConfig, dataset: Dataset, fabric: Engine, backbone: Backbone | None = None) -> None:
        self.config, self.dataset, self.fabric = config, dataset, fabric
        self.ranks = Ranks(fabric)
        self.method = build_method(config, dataset.facts, backbone)
        self.feature_dim: int = self.method.backbone.feature_dim  # type: ignore[assignment]
        self.regularizer = build_regularizer(config, self.method, self.feature_dim, dataset.facts)
        if self.ranks.world_size > 1:
            use_global_batch(self.method)
            use_global_batch(self.regularizer)
        self.method.to(fabric.device)
        self.regularizer.to(fabric.device)
        if config.compile:
            for module in [*self.method.modules(), *self.regularizer.modules()]:
                if isinstance(module, Backbone):
                    # In place, so that the names in the state stay as they are.
                    module.compile()

        self.options = OptimizerOptions(**config.resolved.optimizer)  # type: ignore[arg-type]
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        fused = fabric.device.type == "cuda"
        if self.method.trainable:
            self.optimizers["optimizer"] = build_optimizer(self.method, self.options, fused=fused)
        own = any(p.requires_grad for p in self.regularizer.parameters())
        if own:
            self.optimizers["regularizer_optimizer"] = build_regularizer_optimizer(
                self.regularizer, self.options, fused=fused
            )
        # A wrapper of several processes wants something to synchronise.
        self.forward_method = fabric.setup_module(self.method) if self.optimizers else self.method
        self.forward_regularizer = fabric.setup_module(self.regularizer) if own else self.regularizer
        for optimizer in self.optimizers.values():
            fabric.setup_optimizers(optimizer)

        self.images_per_step = min(config.batch_size, len(dataset.train))
        self.steps_per_epoch = steps_per_epoch(len(dataset.train), config.batch_size)
        self.total = config.epochs * self.steps_per_epoch
        self.look_every = 1 if fabric.device.type == "cpu" else LOOK_EVERY
        self.position = Position(step=0, wall_s=0.0, sums={}, log=[])

    @property
    def lr(self) -> float:
        """The method's learning rate for the next step."""
        return learning_rate(self.options, self.position.step, self.total, self.config.epochs, self.config.batch_size)

    @property
    def progress(self) -> float:
        """The share of training that is done, in [0, 1]."""
        return self.position.step / self.total

    @property
    def images_seen(self) -> int:
        """Images so far, each with its two views counted once, over all processes."""
        return self.position.step * self.images_per_step

    @property
    def images_per_s(self) -> float:
        """Images a second so far."""
        return self.images_seen / max(self.position.wall_s, 1e-9)

    def modules(self) -> dict[str, Tensor]:
        """The tensors of the two modules, parameters and all buffers."""
        return module_state(self.method, "method") | module_state(self.regularizer, "regularizer")

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, by name."""
        tensors = self.modules()
        for name, optimizer in self.optimizers.items():
            tensors |= optimizer_state(optimizer, name)
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        """Become the state that had these `tensors()` at this position; raises DataError where they do not fit."""
        restore_module(self.method, "method", tensors)
        restore_module(self.regularizer, "regularizer", tensors)
        for name, optimizer in self.optimizers.items():
            restore_optimizer(optimizer, name, tensors)
        self.position = Position(**position)
