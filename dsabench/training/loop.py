"""The training loop. It never asks which method or regularizer it runs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from dsabench import rng
from dsabench.backbones.base import Backbone
from dsabench.config.optimization import OptimizerOptions
from dsabench.config.run_config import RunConfig
from dsabench.data.dataset import Dataset
from dsabench.data.loader import labelled_batches, pretraining_batches, reading_workers, steps_per_epoch, unlabelled
from dsabench.errors import Interrupted, RunFailed
from dsabench.signals import Stop
from dsabench.training.build import build_method, build_regularizer
from dsabench.training.checkpoint import (
    module_state,
    optimizer_state,
    read_checkpoint,
    restore_module,
    restore_optimizer,
    tensors_sha256,
    write_checkpoint,
)
from dsabench.training.cost import peak_memory_mb, reset_peak_memory
from dsabench.training.optimizers import build_optimizer, learning_rate
from dsabench.training.position import Position
from dsabench.training.run import Run, utc_now
from dsabench.training.tally import Tally
from dsabench.types import LabelledViews, Views

# The most that a killed run loses, in seconds; also the least time between two checkpoints.
CHECKPOINT_S = 2.0

# The pair network of DSA learns at this rate whatever the method's optimiser is: LARS would hardly move its scalars.
REGULARIZER_LR = 1e-2

# Steps whose losses are looked at together on an accelerator, where asking for a value waits for all work before it.
LOOK_EVERY = 50

Watch = Callable[[int, int, float | None, float], None]


def make_fabric(config: RunConfig) -> Fabric:
    """Device and precision; more processes are a matter of how this is launched."""
    # It announces on stderr what the configuration says.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    precision = "bf16-mixed" if config.precision == "bf16" else "32-true"
    return Fabric(accelerator=config.device, devices=1, precision=precision)  # type: ignore[arg-type]


class Trainer:
    """The modules, optimisers and position of one run."""

    def __init__(self, config: RunConfig, dataset: Dataset, run: Run, fabric: Fabric) -> None:
        self.config, self.dataset, self.run, self.fabric = config, dataset, run, fabric
        self.method = build_method(config, dataset.facts)
        self.feature_dim: int = self.method.backbone.feature_dim  # type: ignore[assignment]
        self.regularizer = build_regularizer(config, self.method, self.feature_dim, dataset.facts)
        self.options = OptimizerOptions(**config.resolved.optimizer)  # type: ignore[arg-type]
        self.steps_per_epoch = steps_per_epoch(len(dataset.train.labels), config.batch_size)
        self.images_per_step = min(config.batch_size, len(dataset.train.labels))
        self.total = config.epochs * self.steps_per_epoch
        self.look_every = 1 if fabric.device.type == "cpu" else LOOK_EVERY
        self.position = Position(step=0, wall_s=0.0, sums={}, log=[])
        self.tally = Tally(self.position, fabric.device)
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.labels = dataset.train.labels.to(fabric.device)
        self.method.to(fabric.device)
        self.regularizer.to(fabric.device)
        if config.compile:
            for module in [*self.method.modules(), *self.regularizer.modules()]:
                if isinstance(module, Backbone):
                    # In place, so that the names in the state stay as they are.
                    module.compile()
        fused = fabric.device.type == "cuda"
        if self.method.trainable:
            self.optimizers["optimizer"] = build_optimizer(self.method, self.options, fused=fused)
        own = [p for p in self.regularizer.parameters() if p.requires_grad]
        if own:
            self.optimizers["regularizer_optimizer"] = torch.optim.AdamW(
                own, lr=REGULARIZER_LR, weight_decay=0.0, fused=fused
            )
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
        self.tally = Tally(self.position, self.fabric.device)

    def save(self, **changes: Any) -> Path:
        """Write a checkpoint, the log, and what else changes in the run's state with it."""
        self.look()
        self.position.sums = self.tally.sums()
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
                    self.step(views)
                    ends = self.position.step % self.steps_per_epoch == 0
                    if ends or self.tally.unseen >= self.look_every:
                        self.look()
                    now = time.monotonic()
                    self.position.wall_s += now - clock
                    clock = now
                    watch(self.position.step, self.total, self.tally.last_loss, self.speed())
                    if ends:
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
            reference=self.config.augment == "reference",
        )

    def step(self, views: Views | LabelledViews) -> Tensor:
        """One optimiser step; returns the loss (). On the CPU it is checked before the update, elsewhere by `look`."""
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
        self.tally.add(step, {"loss": total, **terms, **self.regularizer.diagnostics, **self.precision(plain)}, lr)
        if self.look_every == 1:
            self.look()
        self.fabric.backward(total)
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        position.step += 1
        self.method.after_step(position.step / self.total)
        self.regularizer.after_step(position.step / self.total)
        return total.detach()

    def look(self) -> None:
        """Wait for the losses of the steps since the last look; raise RunFailed for the first that is not finite."""
        for step, values in self.tally.look():
            if not math.isfinite(values["loss"]):
                terms = ", ".join(f"{name} {values[name]:.4g}" for name in values if name != "loss")
                raise RunFailed(
                    f"{self.config.label}: the loss is not finite at step {step} ({terms}); try a smaller lr"
                )

    @torch.no_grad()
    def precision(self, views: Views) -> dict[str, Tensor]:
        """For the log alone: the share of similar pairs that share a class, and whether there are such pairs."""
        pairs = self.regularizer.similar_pairs
        if pairs is None or len(pairs) != len(views.index):
            return {}
        # Nothing that trains reads these labels.
        labels = self.labels[views.index]
        count = pairs.sum()
        hits = ((labels[:, None] == labels) & pairs).sum()
        return {"similar_precision": hits / count.clamp(min=1), "similar_steps": (count > 0).float()}

    def close_epoch(self) -> None:
        """Turn the epoch's sums into a row of the log."""
        sums, steps = self.tally.sums(), self.steps_per_epoch
        measured = max(1.0, sums.pop("similar_steps", 0.0))
        means = {name: value / (measured if name == "similar_precision" else steps) for name, value in sums.items()}
        row = {"epoch": float(self.position.step // steps), **means, "wall_s": self.position.wall_s}
        row["images_per_s"] = self.speed()
        self.position.log.append(row)
        self.tally.clear()

    def images_seen(self) -> int:
        """Images so far, each with its two views counted once."""
        return self.position.step * self.images_per_step

    def speed(self) -> float:
        """Images a second so far."""
        return self.images_seen() / max(self.position.wall_s, 1e-9)

    def cost(self) -> dict[str, Any]:
        """What the run has cost so far."""
        memory = max(peak_memory_mb(self.fabric.device), self.run.state.get("peak_mem_mb") or 0.0)
        return {
            "images_seen": self.images_seen(),
            "wall_s": self.position.wall_s,
            "images_per_s": self.speed(),
            "peak_mem_mb": memory,
        }

    def finish(self) -> None:
        """Write the last checkpoint and mark the run as finished, in one change of its state."""
        sha256 = tensors_sha256(module_state(self.method, "method"))
        self.save(status="finished", weights_sha256=sha256, finished_utc=utc_now(), **self.cost())


def pretrain(trainer: Trainer, stop: Stop, watch: Watch) -> None:
    """Train a run to its end, from its last sound checkpoint if it has one.

    `watch(step, total, loss, images_per_s)` is called after every step, with the last loss that is known. Raises
    RunFailed for a loss that is not finite, with nothing after it saved (on the CPU with nothing updated either), and
    Interrupted, after a checkpoint, when `stop` was requested.
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
