"""What a run will take, before it runs: steps, memory, disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dsabench.config.run_config import RunConfig
from dsabench.data import Datasets
from dsabench.data.dataset import Dataset
from dsabench.training.ranks import make_fabric
from dsabench.training.run import GENERATIONS
from dsabench.training.state import State
from dsabench.training.store import Store

BYTES = 4


class Estimate(NamedTuple):
    """One run's identity and folder, its optimiser steps, and estimates of memory and disk in megabytes.

    Memory counts the images, the weights with gradients and two moments, and the outputs of all layers for one batch
    of both views; what libraries keep for themselves comes on top. Disk counts the checkpoints and the features.
    """

    run: str
    run_id: str
    run_dir: str
    steps: int
    parameters: int
    memory_mb: int
    disk_mb: int


def estimates(planned: Sequence[RunConfig], store: Store, datasets: Datasets) -> list[dict[str, object]]:
    """What each run would take; runs of one spec cost the same and are measured once."""
    costs: dict[str, Estimate] = {}
    for config in planned:
        costs.setdefault(str(config.spec), estimate(config, store, datasets))
    return [
        costs[str(config.spec)]
        ._replace(run=config.label, run_id=config.run_id, run_dir=str(store.run(config).folder))
        ._asdict()
        for config in planned
    ]


def estimate(config: RunConfig, store: Store, datasets: Datasets) -> Estimate:
    """Estimate a run from its modules, with one forward pass of two images."""
    dataset = datasets.load(config.data)
    state = State(config, dataset, make_fabric(config))
    saved = sum(tensor.numel() * tensor.element_size() for tensor in state.tensors().values())
    parameters = sum(p.numel() for p in state.method.parameters() if p.requires_grad)
    splits = (dataset.train, dataset.val, dataset.test)
    images = sum(split.images.numel() for split in splits if isinstance(split.images, Tensor))
    activations = bytes_per_image(state.method.backbone, dataset) * 2 * state.images_per_step
    features = sum(len(split) for split in splits) * state.feature_dim * BYTES
    moments = 2 * parameters * BYTES
    return Estimate(
        run=config.label,
        run_id=config.run_id,
        run_dir=str(store.run(config).folder),
        steps=state.total,
        parameters=parameters,
        memory_mb=round((images + saved + parameters * BYTES + moments + activations) / 1e6),
        disk_mb=round((GENERATIONS * (saved + moments) + features) / 1e6),
    )


@torch.no_grad()
def bytes_per_image(backbone: nn.Module, dataset: Dataset) -> float:
    """The outputs of all layers for one image, which the backward pass needs."""
    sizes: list[int] = []

    def measure(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel() * output.element_size())

    handles = [leaf.register_forward_hook(measure) for leaf in backbone.modules() if not list(leaf.children())]
    training = backbone.training
    device = next(backbone.parameters()).device
    # In eval mode, so that no buffer moves.
    backbone.eval()(torch.zeros(2, dataset.channels, dataset.image_size, dataset.image_size, device=device))
    backbone.train(training)
    for handle in handles:
        handle.remove()
    return sum(sizes) / 2
