"""Few-shot episodes: small problems of a few classes and labels each, and how sure their mean is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dsabench.probes.base import numbered, unit_rows
from dsabench.probes.fewshot import members_of
from dsabench.rng import numpy_generator
from dsabench.types import Features, ProbeResult, Score


def episodes(
    train: Features,
    val: Features,
    test: Features,
    *,
    seed: int,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    episodes: int = 600,
) -> ProbeResult:
    """Mean accuracy of nearest class means over episodes of `ways` classes, and half of its 95% interval (`ci95`).

    An episode draws its classes, `shots` labelled training samples and `queries` test samples of each; a query gets the
    class whose mean of unit features is nearest: Snell et al. 2017, arXiv 1703.05175, with the interval
    1.96 std / sqrt(episodes) that the field reports. Drawn by (seed, ways, shots, number) from labels alone, so that
    arms with one seed meet the same episodes. `val` is not used. Raises ValueError as `base.numbered` does, where fewer
    than `ways` classes have as many samples, and for one way or one episode.
    Cost: O(E W (K + Q) D) for E episodes of W ways, K shots and Q queries.
    """
    train, test = numbered(train, test=test)
    if ways < 2 or episodes < 2:
        raise ValueError(f"the episodes need at least 2 ways, and 2 of them; got {ways} and {episodes}")
    classes = int(train.y.max()) + 1
    supports, targets = (members_of(y, classes) for y in (train.y, test.y))
    usable = [c for c in range(classes) if len(supports[c]) >= shots and len(targets[c]) >= queries]
    if len(usable) < ways:
        raise ValueError(
            f"{ways} ways need as many classes with {shots} training and {queries} test samples; got {len(usable)}"
        )
    accuracies = np.empty(episodes)
    for number in range(episodes):
        generator = numpy_generator(seed, "episodes", ways, shots, number)
        chosen = generator.choice(usable, ways, replace=False)
        support = np.stack([generator.choice(supports[c], shots, replace=False) for c in chosen])
        query = np.stack([generator.choice(targets[c], queries, replace=False) for c in chosen])
        accuracies[number] = _accuracy(_units(train.x, support), _units(test.x, query))
    params = {"ways": ways, "shots": shots, "queries": queries, "episodes": episodes}
    half = float(1.96 * accuracies.std(ddof=1) / np.sqrt(episodes))
    return ProbeResult([Score("accuracy", float(accuracies.mean()), params), Score("ci95", half, params, None)])


def _units(x: Tensor, index: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Tensor:
    """Unit rows (W, K, D) float64 of `x` (N, D) at `index` (W, K)."""
    return unit_rows(x[torch.from_numpy(index)].double())


def _accuracy(support: Tensor, query: Tensor) -> float:
    """The share of queries (W, Q, D) whose nearest mean of support (W, K, D) is that of their own way."""
    means = support.mean(dim=1)
    nearest = (query @ means.T - means.square().sum(dim=1) / 2).argmax(dim=2)
    return float((nearest == torch.arange(len(means))[:, None]).double().mean())
