"""What comes behind the last step: an adjuster of features, where the regularizer has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from dsabench import rng
from dsabench.adjuster import looked_at
from dsabench.backbones.base import evaluated
from dsabench.data.dataset import Dataset
from dsabench.data.loader import image_batches, pretraining_batches, reading_workers
from dsabench.data.subset import subset
from dsabench.errors import RunFailed
from dsabench.regularizers import VIEWS
from dsabench.training.state import State

# What an encoder is made of, by the names in a checkpoint.
ADJUSTER = "regularizer.adjuster"
ENCODER = ("method.", f"{ADJUSTER}.")

# Images whose views are drawn together. What is left over of them is left out, so it is small.
DRAWN = 64


def encoder_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state that decide what features are."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(ENCODER)}


def adjust(state: State) -> None:
    """Fit the adjuster of a state, if it has one, to the backbone's features of its training images, un-augmented, and
    of views of them, if it goes by these.

    Of as many as an adjuster looks at. One process does it for all. Raises RunFailed where they cannot be adjusted.
    """
    adjuster, by_views = state.regularizer.adjuster, state.regularizer.adjust_by == VIEWS
    if adjuster is None:
        return

    def fitted() -> list[Tensor]:
        try:
            return [x.cpu() for x in adjuster.fit(features(state), views(state) if by_views else None).buffers()]
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


def views(state: State) -> tuple[Tensor, Tensor]:
    """Features (M, D) of two views each of these images, in eval mode."""
    config = state.config
    with evaluated(state.method.backbone) as backbone:
        return view_features(backbone, state.dataset, config.resolved.views, config.seed, state.fabric.device)


@torch.no_grad()
def view_features(
    backbone: Callable[[Tensor], Tensor], dataset: Dataset, policy: str, seed: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Features (M, D) of two views each of the training images that an adjuster looks at, drawn by a view policy.

    The draw is of the `seed`, and no other's. Of more than 64 images those are left out that are no whole 64.
    """
    chosen = subset(dataset.pretraining, looked_at(len(dataset.pretraining)))
    batches = pretraining_batches(
        replace(dataset, train=chosen, contaminated=None),
        policy,
        batch_size=DRAWN,
        seed=rng.seed_of(seed, "adjust"),
        epoch=0,
        device=device,
        workers=reading_workers(chosen),
    )
    pairs = [(backbone(batch.view1).float(), backbone(batch.view2).float()) for batch in batches]
    one, other = (torch.cat(side) for side in zip(*pairs, strict=True))
    return one, other
