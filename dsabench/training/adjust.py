"""What comes behind the last step: an adjuster of features, where the regularizer has one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dsabench.adjuster import looked_at
from dsabench.backbones.base import evaluated
from dsabench.data.loader import image_batches, reading_workers
from dsabench.data.subset import subset
from dsabench.errors import RunFailed
from dsabench.training.state import State

# What an encoder is made of, by the names in a checkpoint.
ADJUSTER = "regularizer.adjuster"
ENCODER = ("method.", f"{ADJUSTER}.")


def encoder_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state that decide what features are."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(ENCODER)}


def adjust(state: State) -> None:
    """Fit the adjuster of a state, if it has one, to the backbone's features of its training images, un-augmented.

    Of as many as an adjuster looks at. One process does it for all. Raises RunFailed where they cannot be adjusted.
    """
    adjuster = state.regularizer.adjuster
    if adjuster is None:
        return

    def fitted() -> list[Tensor]:
        try:
            return [x.cpu() for x in adjuster.fit(features(state)).buffers()]
        except ValueError as error:
            raise RunFailed(f"{state.config.label}: {error}; regularizer.adjust=off adjusts nothing") from error

    for own, found in zip(adjuster.buffers(), state.ranks.by_writer(fitted), strict=True):
        own.copy_(found)


@torch.no_grad()
def features(state: State) -> Tensor:
    """Features (N, D) of the training images that an adjuster looks at, in eval mode."""
    split, facts, device = state.dataset.pretraining, state.dataset.facts, state.fabric.device
    chosen = subset(split, looked_at(len(split)))
    batches = image_batches(
        chosen,
        facts.mean,
        facts.std,
        batch_size=state.config.batch_size,
        device=device,
        workers=reading_workers(chosen),
    )
    with evaluated(state.method.backbone) as backbone:
        return torch.cat([backbone(images).float() for images in batches])
