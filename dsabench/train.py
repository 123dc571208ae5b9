"""The training loop. It never asks which method or regularizer it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from dsabench import rng
from dsabench.build import build_method, build_regularizer
from dsabench.checkpoint import (
    module_state,
    optimizer_state,
    read_checkpoint,
    restore_module,
    restore_optimizer,
    tensors_sha256,
    write_checkpoint,
)
from dsabench.config import RunConfig
from dsabench.data.loader import labelled_batches, pretraining_batches, reading_workers, steps_per_epoch, unlabelled
from dsabench.data.spec import Dataset
from dsabench.errors import Interrupted, RunFailed
from dsabench.optim import OptimizerOptions, build_optimizer, learning_rate
from dsabench.runs import Run, utc_now
from dsabench.signals import Stop
from dsabench.types import LabelledViews, Views
from dsabench.usage import peak_memory_mb, reset_peak_memory

# The most that a killed run loses, in seconds; also the least time between two checkpoints.
CHECKPOINT_S = 2.0

# The pair network of DSA learns at this rate whatever the method's optimiser is: LARS would hardly move its scalars.
REGULARIZER_LR = 1e-2

Watch = Callable[[int, int, float | None, float], None]


def make_fabric(config: RunConfig) -> Fabric:
    """Device and precision; more processes are a matter of how this is launched."""
    precision = "bf16-mixed" if config.precision == "bf16" else "32-true"
    return Fabric(accelerator=config.device, devices=1, precision=precision)  # type: ignore[arg-type]


@dataclass
class Position:
    """How far a run has come: steps done, seconds spent, the sums of the epoch under way, the rows of past ones."""

    step: int
    wall_s: float
    sums: dict[str, float]
    log: list[dict[str, float]]


class Trainer:
    """The modules, optimisers and position of one run."""

    def __init__(self, config: RunConfig, dataset: Dataset, run: Run, fabric: Fabric) -> None:
        self.config, self.dataset, self.run, self.fabric = config, dataset, run, fabric
        self.method = build_method(config, dataset)
        self.feature_dim: int = self.method.backbone.feature_dim  # type: ignore[assignment]
        self.regularizer = build_regularizer(config, self.method, self.feature_dim)
        self.options = OptimizerOptions(**config.resolved.optimizer)  # type: ignore[arg-type]
        self.steps_per_epoch = steps_per_epoch(len(dataset.train.labels), config.batch_size)
        self.images_per_step = min(config.batch_size, len(dataset.train.labels))
        self.total = config.epochs * self.steps_per_epoch
        self.position = Position(step=0, wall_s=0.0, sums={}, log=[])
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.labels = dataset.train.labels.to(fabric.device)
        if self.method.trainable:
            self.optimizers["optimizer"] = build_optimizer(self.method, self.options)
        own = [p for p in self.regularizer.parameters() if p.requires_grad]
        if own:
            self.optimizers["regularizer_optimizer"] = torch.optim.AdamW(own, lr=REGULARIZER_LR, weight_decay=0.0)
        self.method.to(fabric.device)
        self.regularizer.to(fabric.device)
        # A wrapper of several processes wants something to synchronise.
        self.method_step = fabric.setup_module(self.method) if self.optimizers else self.method
        self.regularizer_step = fabric.setup_module(self.regularizer) if own else self.regularizer
        for optimizer in self.optimizers.values():
            fabric.setup_optimizers(optimizer)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the state."""
        state = module_state(self.method, "method") | module_state(self.regularizer, "regularizer")
        for name, optimizer in self.optimizers.items():
            state |= optimizer_state(optimizer, name)
        return state

    def restore(self) -> None:
        """Go to the newest sound checkpoint, if there is one."""
        path = next(self.run.sound_checkpoints(), None)
        if path is None:
            return
        tensors, meta = read_checkpoint(path)
        restore_module(self.method, "method", tensors)
        restore_module(self.regularizer, "regularizer", tensors)
        for name, optimizer in self.optimizers.items():
            restore_optimizer(optimizer, name, tensors)
        self.position = Position(**meta)

    def save(self, **changes: Any) -> Path:
        """Write a checkpoint, the log, and what else changes in the run's state with it."""
        path = self.run.folder / "checkpoints" / f"step-{self.position.step:08d}.safetensors"
        if self.fabric.is_global_zero:
            sha256 = write_checkpoint(path, self.tensors(), vars(self.position))
            self.run.write_log(self.position.log)
            self.run.add_checkpoint(path, sha256, step=self.position.step, **changes)
        self.fabric.barrier()
        return path

    def train(self, stop: Stop, watch: Watch) -> None:
        """Run all steps that are left."""
        self.method.train()
        self.regularizer.train()
        saved = clock = time.monotonic()
        with rng.forked(self.config.seed, "train"):
            while self.position.step < self.total:
                epoch, start = divmod(self.position.step, self.steps_per_epoch)
                for views in self.batches(epoch, start):
                    loss = self.step(views)
                    now = time.monotonic()
                    self.position.wall_s += now - clock
                    watch(self.position.step, self.total, loss, self.images_per_step / max(now - clock, 1e-9))
                    clock = now
                    if self.position.step % self.steps_per_epoch == 0:
                        self.close_epoch()
                    if stop.requested and self.position.step < self.total:
                        self.save(**self.cost())
                        stop.check()
                    if now - saved >= CHECKPOINT_S and self.position.step < self.total:
                        self.save(**self.cost())
                        # Writing is no training, and a slow disk must not look like a slow method.
                        saved = clock = time.monotonic()

    def batches(self, epoch: int, start: int) -> Iterator[Views] | Iterator[LabelledViews]:
        """The epoch's batches from a step on; with labels only where an entry declares that it needs them."""
        labelled = self.method.needs_labels or self.regularizer.needs_labels
        source = labelled_batches if labelled else pretraining_batches
        return source(
            self.dataset,
            self.config.resolved.views,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            epoch=epoch,
            start_step=start,
            device=self.fabric.device,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
            workers=reading_workers(self.dataset.train),
        )

    def step(self, views: Views | LabelledViews) -> float:
        """One optimiser step; returns the loss, which is checked before the update."""
        step, position = self.position.step, self.position
        lr = learning_rate(self.options, step, self.total, self.config.epochs, self.config.batch_size)
        for group in self.optimizers["optimizer"].param_groups:
            group["lr"] = lr
        plain = unlabelled(views) if isinstance(views, LabelledViews) else views
        # Library code that draws from the global generator (dropout, stochastic depth) draws by step, and the
        # regularizer's draws leave the method's alone.
        torch.manual_seed(rng.seed_of(self.config.seed, "step", step))
        output = self.method_step(views if self.method.needs_labels else plain)
        torch.manual_seed(rng.seed_of(self.config.seed, "regularizer", step))
        extra = self.regularizer_step(output, views if self.regularizer.needs_labels else plain, step / self.total)
        terms: dict[str, Tensor] = {"ssl": output.loss, **extra}
        total = torch.stack(list(terms.values())).sum() if extra else output.loss
        loss = float(total.detach())
        if not math.isfinite(loss):
            values = ", ".join(f"{name} {float(term.detach()):.4g}" for name, term in terms.items())
            raise RunFailed(f"{self.config.label}: the loss is not finite at step {step} ({values}); try a smaller lr")
        self.fabric.backward(total)
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        position.step += 1
        self.method.after_step(position.step / self.total)
        self.regularizer.after_step(position.step / self.total)
        self.record({"loss": loss, "lr": lr}, terms, plain)
        return loss

    @torch.no_grad()
    def record(self, values: dict[str, float], terms: dict[str, Tensor], views: Views) -> None:
        """Add a step to the sums of its epoch."""
        values |= {name: float(term) for name, term in (terms | self.regularizer.diagnostics).items()}
        pairs = self.regularizer.similar_pairs
        if pairs is not None and len(pairs) == len(views.index) and bool(pairs.any()):
            # For the log alone: nothing that trains reads these labels.
            labels = self.labels[views.index]
            values["similar_precision"] = float((labels[:, None] == labels)[pairs].float().mean())
            values["similar_steps"] = 1.0
        for name, value in values.items():
            self.position.sums[name] = self.position.sums.get(name, 0.0) + value

    def close_epoch(self) -> None:
        """Turn the epoch's sums into a row of the log."""
        sums, steps = self.position.sums, self.steps_per_epoch
        measured = sums.pop("similar_steps", 0.0)
        means = {name: value / (measured if name == "similar_precision" else steps) for name, value in sums.items()}
        row = {"epoch": float(self.position.step // steps), **means, "wall_s": self.position.wall_s}
        row["images_per_s"] = self.images_seen() / max(self.position.wall_s, 1e-9)
        self.position.log.append(row)
        self.position.sums = {}

    def images_seen(self) -> int:
        """Images so far, each with its two views counted once."""
        return self.position.step * self.images_per_step

    def cost(self) -> dict[str, Any]:
        """What the run has cost so far."""
        seen, wall_s = self.images_seen(), self.position.wall_s
        speed = seen / wall_s if wall_s > 0 else 0.0
        memory = max(peak_memory_mb(self.fabric.device), self.run.state.get("peak_mem_mb") or 0.0)
        return {"images_seen": seen, "wall_s": wall_s, "images_per_s": speed, "peak_mem_mb": memory}

    def finish(self) -> None:
        """Write the last checkpoint and mark the run as finished, in one change of its state."""
        sha256 = tensors_sha256(module_state(self.method, "method"))
        self.save(status="finished", weights_sha256=sha256, finished_utc=utc_now(), **self.cost())


def pretrain(trainer: Trainer, stop: Stop, watch: Watch) -> None:
    """Train a run to its end, from its last sound checkpoint if it has one.

    `watch(step, total, loss, images_per_s)` is called after every step. Raises RunFailed, with nothing updated, for a
    loss that is not finite, and Interrupted, after a checkpoint, when `stop` was requested.
    """
    reset_peak_memory(trainer.fabric.device)
    try:
        trainer.restore()
        trainer.train(stop, watch)
    except RunFailed as error:
        trainer.run.update(status="failed", error=str(error), finished_utc=utc_now())
        raise
    except Interrupted:
        trainer.run.update(status="interrupted")
        raise
    trainer.finish()
