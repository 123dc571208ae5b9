"""What theory says of a run: the terms of the bounds on held-out images, each with an interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dsabench import rng
from dsabench.config.run_config import RunConfig
from dsabench.data import Datasets
from dsabench.data.dataset import Dataset, Split
from dsabench.data.loader import pretraining_batches
from dsabench.errors import DataError
from dsabench.evaluation.encoder import Encoder, run_encoder
from dsabench.evaluation.evaluate import device_here, evaluated_data
from dsabench.metrics.bounds import Bound, centre_bound, contrastive_bound, directional_bound, few_shot_bound
from dsabench.probes.base import unit_rows
from dsabench.training.machine import prepare
from dsabench.training.run import Run

MOST_IMAGES = 2000
DRAWS = 100
SHOT_DRAWS = 20
BATCH = 512


class Pairs(NamedTuple):
    """Two views of held-out images as unit rows `x`, `partner` (N, D) float64, and their classes `y` (N,)."""

    x: Tensor
    partner: Tensor
    y: Tensor


@dataclass(frozen=True)
class Finding:
    """A bound of a run: where it is from, its terms, and the 95% percentile interval of each over images."""

    run_id: str
    spec: str
    seed: int
    dataset: str
    split: str
    n: int
    bound: str
    source: str
    estimate: Bound
    low: Bound
    high: Bound

    @property
    def holds(self) -> bool:
        """Whether the risk lies between the bounds, to the rounding of features that were computed in float32."""
        return self.estimate.lower - 1e-6 <= self.estimate.risk <= self.estimate.upper + 1e-6


class Theorem(NamedTuple):
    """A bound by name: its source, and what computes it of pairs."""

    source: str
    of: Callable[[Pairs], Bound]


def _few(shots: int) -> Callable[[Pairs], Bound]:
    return lambda pairs: few_shot_bound(pairs.x, pairs.y, shots=shots, draws=shot_draws(pairs.y, shots))


THEOREMS: dict[str, Theorem] = {
    "mean classifier": Theorem("2203.13457", lambda p: contrastive_bound(p.x, p.partner, p.y)),
    "CDNV": Theorem("2112.15121", lambda p: centre_bound(p.x, p.y)),
    "directional CDNV": Theorem("ours, after 2603.03530", lambda p: directional_bound(p.x, p.y)),
    "1 shot": Theorem("ours, after 2603.03530", _few(1)),
    "5 shots": Theorem("ours, after 2603.03530", _few(5)),
}


def findings(run: Run, datasets: Datasets, *, split: str = "test", draws: int = DRAWS) -> list[Finding]:
    """Every bound of a finished run on its own data, at most `MOST_IMAGES` images of a split.

    Raises DataError where the run is not finished or its data are not what they were, or where features have collapsed
    to nothing that a bound is defined for.
    """
    pairs = held_out_pairs(run_encoder(run, datasets), run.config, datasets, split)
    found = []
    for name, theorem in THEOREMS.items():
        try:
            estimate, low, high = with_interval(theorem.of, pairs, draws)
        except ValueError as error:
            raise DataError(f"{run.config.label}: no bound is defined for its features: {error}") from error
        found.append(
            Finding(
                run_id=run.config.run_id,
                spec=str(run.config.spec),
                seed=run.config.seed,
                dataset=run.config.data.label,
                split=split,
                n=len(pairs.y),
                bound=name,
                source=theorem.source,
                estimate=estimate,
                low=low,
                high=high,
            )
        )
    return found


def with_interval(of: Callable[[Pairs], Bound], pairs: Pairs, draws: int) -> tuple[Bound, Bound, Bound]:
    """A bound, and the ends of the percentile intervals of its terms over images drawn again within their classes.

    A draw repeats images, which makes classes tighter than they are: the intervals are moved so that the mean of the
    draws is the estimate.
    """
    estimate = of(pairs)
    generator = rng.numpy_generator("theory", "bootstrap")
    where = [np.flatnonzero(pairs.y.numpy() == label) for label in np.unique(pairs.y.numpy())]
    values = []
    for _ in range(draws):
        index = torch.from_numpy(np.concatenate([generator.choice(at, len(at)) for at in where]))
        values.append(of(Pairs(*(part[index] for part in pairs))))
    table = np.array(values)
    with np.errstate(invalid="ignore"):
        moved = table + (np.array(estimate) - table.mean(axis=0))
    low, high = np.quantile(moved, (0.025, 0.975), axis=0, method="lower")
    return estimate, Bound(*low.tolist()), Bound(*high.tolist())


def shot_draws(y: Tensor, shots: int, count: int = SHOT_DRAWS) -> Tensor:
    """Positions (R, C, n) of the samples that class means are made of, with replacement, the same for equal `y`."""
    generator = rng.generator("theory", "shots", shots)
    places = [(y == label).nonzero().squeeze(1) for label in torch.unique(y)]
    return torch.stack([at[torch.randint(len(at), (count, shots), generator=generator)] for at in places], dim=1)


def held_out_pairs(encoder: Encoder, config: RunConfig, datasets: Datasets, split: str) -> Pairs:
    """Features of two views of at most `MOST_IMAGES` held-out images, drawn by the run's own view policy and seed."""
    device = torch.device(device_here(encoder.device, strict=False))
    prepare(encoder.threads)
    dataset = of_few_images(evaluated_data(encoder, None, datasets), split)
    rows: list[list[Tensor]] = [[], []]
    labels = []
    parts = torch.split(torch.arange(len(dataset.train)), BATCH)
    for number, index in enumerate(parts):
        part = replace(dataset, train=taken(dataset.train, index))
        (views,) = pretraining_batches(
            part, config.resolved.views, batch_size=len(index), seed=config.seed, epoch=number, device=device
        )
        for found, view in zip(rows, (views.view1, views.view2), strict=True):
            found.append(encoder.features("backbone", view, device))
        labels.append(part.train.labels[views.index.cpu()])
    x, partner = (unit_rows(torch.cat(found).double()) for found in rows)
    return Pairs(x, partner, torch.cat(labels))


def of_few_images(dataset: Dataset, split: str) -> Dataset:
    """A data set whose training images are those of a split, in memory and at the size of evaluation."""
    held_out: Split = getattr(dataset, split)
    drawn = torch.randperm(len(held_out), generator=rng.generator("theory", "images"))[:MOST_IMAGES]
    return replace(dataset, train=taken(held_out, drawn.sort().values), contaminated=None)


def taken(split: Split, index: Tensor) -> Split:
    """The images of a split at `index` (M,), in memory."""
    images = split.pixels(index)
    return Split(split.labels[index], images)
