"""One optimiser step as a function of the state and a batch. It never asks which method or regularizer it runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from dsabench import rng
from dsabench.data.loader import labelled_batches, pretraining_batches, reading_workers, unlabelled
from dsabench.errors import RunFailed
from dsabench.gather import gather_rows, own_rows, sum_over_processes
from dsabench.training.state import State
from dsabench.transfer import send
from dsabench.types import LabelledViews, Views


def batches(state: State, epoch: int, start: int = 0) -> Iterator[Views] | Iterator[LabelledViews]:
    """An epoch's batches from a step on; with labels only where an entry declares that it needs them."""
    labelled = state.method.needs_labels or state.regularizer.needs_labels
    source = labelled_batches if labelled else pretraining_batches
    return source(
        state.dataset,
        state.config.resolved.views,
        batch_size=state.config.batch_size,
        seed=state.config.seed,
        epoch=epoch,
        start_step=start,
        device=state.fabric.device,
        rank=state.ranks.rank,
        world_size=state.ranks.world_size,
        workers=reading_workers(state.dataset.pretraining),
        reference=state.config.augment == "reference",
    )


def step(state: State, views: Views | LabelledViews) -> dict[str, Tensor]:
    """One optimiser step; returns scalars (): `loss`, its terms, then what the log alone has.

    Where looking costs nothing (`look_every` 1, the CPU) it raises RunFailed for a loss that is not finite, before the
    update; elsewhere whoever looks at the terms does.
    """
    terms = forward(state, views)
    if state.look_every == 1:
        values = state.ranks.mean(torch.stack([term.detach().float() for term in terms.values()]))
        require_finite(state, state.position.step, dict(zip(terms, values.tolist(), strict=True)))
    lr = state.lr
    for group in state.optimizers["optimizer"].param_groups:
        group["lr"] = lr
    state.fabric.backward(terms["loss"])
    for optimizer in state.optimizers.values():
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    state.position.step += 1
    state.method.after_step(state.progress)
    state.regularizer.after_step(state.progress)
    return {name: term.detach() for name, term in terms.items()}


def forward(state: State, views: Views | LabelledViews) -> dict[str, Tensor]:
    """The scalars of `step`, with their gradients."""
    seed, number = state.config.seed, state.position.step
    plain = unlabelled(views) if isinstance(views, LabelledViews) else views
    # Library code that draws from the global generator (dropout, stochastic depth) draws by step, and the
    # regularizer's draws leave the method's alone.
    torch.manual_seed(rng.seed_of(seed, "step", number))
    output = state.forward_method(views if state.method.needs_labels else plain)
    torch.manual_seed(rng.seed_of(seed, "regularizer", number))
    extra = state.forward_regularizer(output, views if state.regularizer.needs_labels else plain, state.progress)
    terms: dict[str, Tensor] = {"ssl": output.loss, **extra}
    total = torch.stack(list(terms.values())).sum() if extra else output.loss
    return {
        "loss": total,
        **terms,
        **state.regularizer.diagnostics,
        **precision(state, plain),
        **outliers(state, plain),
    }


@torch.no_grad()
def precision(state: State, views: Views) -> dict[str, Tensor]:
    """For the log alone: the share of similar pairs that share a class, and whether there are such pairs."""
    pairs = state.regularizer.similar_pairs
    if pairs is None:
        return {}
    index = gather_rows(views.index)
    if pairs.shape != (len(views.index), len(index)):
        return {}
    # Nothing that trains reads these labels.
    labels = state.dataset.train.on(state.fabric.device).labels[index]
    own = labels[own_rows(len(views.index))]
    hits, count = sum_over_processes(torch.stack([((own[:, None] == labels) & pairs).sum(), pairs.sum()]))
    return {"similar_precision": hits / count.clamp(min=1), "similar_steps": (count > 0).float()}


@torch.no_grad()
def outliers(state: State, views: Views) -> dict[str, Tensor]:
    """For the log alone: the AUROC of 1 - s for the images of a batch that were replaced, s the regularizer's scores.

    The chance that a replaced image scores lower than one that stayed, ties counting half; and whether there are both.
    """
    contaminated, scores = state.dataset.contaminated, state.regularizer.sample_scores
    if contaminated is None or scores is None:
        return {}
    replaced = send(contaminated.replaced, scores.device)[gather_rows(views.index)]
    if len(replaced) != len(scores):
        return {}
    apart = scores[:, None] - scores
    wins = (apart < 0).float() + 0.5 * (apart == 0).float()
    pairs = replaced[:, None] & ~replaced
    count = pairs.sum()
    return {"outlier_auroc": (wins * pairs).sum() / count.clamp(min=1), "outlier_steps": (count > 0).float()}


def require_finite(state: State, number: int, values: Mapping[str, float]) -> None:
    """Raise RunFailed where the `loss` of a step is not finite."""
    if not math.isfinite(values["loss"]):
        terms = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "loss")
        raise RunFailed(f"{state.config.label}: the loss is not finite at step {number} ({terms}); try a smaller lr")
