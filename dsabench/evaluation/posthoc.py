"""Features changed after training, labels unread: what aggregation, evening out and adjusting give without any."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dsabench.adjuster import Adjuster
from dsabench.config.eval_config import POSTHOC, SMOOTH
from dsabench.config.spec import Part
from dsabench.probes.nearest import nearest
from dsabench.regularizers import VIEWS
from dsabench.types import Features


def inner(layer: Part) -> Part:
    """The layer that a post-hoc one is made of."""
    return Part(str({**POSTHOC[layer.name], **layer.options}["layer"]))


def changed(layer: Part, features: Features, train: Features | None) -> Features:
    """The post-hoc `layer`, smoothed or evened out, of the features of a split of its inner one.

    Without `train` they are the training ones.
    """
    options = {**POSTHOC[layer.name], **layer.options}
    if layer.name == SMOOTH:
        return smoothed(features, train, k=int(options["k"]), times=int(options["times"]))
    return whitened(features, train, power=float(options["power"]))


def adjuster_of(layer: Part, train: Features, views: Callable[[], tuple[Tensor, Tensor]]) -> Adjuster:
    """The adjuster of a layer `adjust` of the training features of its inner one and, if it goes by these, of views."""
    options = {**POSTHOC[layer.name], **layer.options}
    pair = views() if options["by"] == VIEWS else None
    return Adjuster(train.x.shape[1]).fit(train.x.float(), pair, k=int(options["k"]))


def whitened(features: Features, train: Features | None, *, power: float) -> Features:
    """Each row of `features` (N, D), at unit length and from the mean of the training rows on, along their principal
    axes, each coordinate divided by its standard deviation there to the `power` in (0, 1].

    1 whitens, what is between evens the axes out in part; axes along which the training rows do not vary are left out.
    Without `train` the features are the training ones. Labels are not read. Costs O(N D^2 + D^3).
    """
    x = normalize(features.x.double(), dim=1)
    bank = x if train is None else normalize(train.x.double(), dim=1)
    mean = bank.mean(dim=0)
    variances, axes = torch.linalg.eigh((bank - mean).T @ (bank - mean) / len(bank))
    varies = variances > variances[-1] * max(bank.shape) * torch.finfo(bank.dtype).eps
    scaled = axes[:, varies] * variances[varies] ** (-power / 2)
    return Features(((x - mean) @ scaled).float(), features.y)


def smoothed(features: Features, train: Features | None, *, k: int, times: int) -> Features:
    """Each row of `features` (N, D), at unit length, averaged with its `k` nearest by cosine among the training rows.

    `times` over, the training rows being averaged with each other alongside. Without `train` the features are the
    training ones. Labels are not read.
    """
    x = normalize(features.x.double(), dim=1)
    bank = x if train is None else normalize(train.x.double(), dim=1)
    for _ in range(times):
        # A row among its own is its nearest, so that one more is looked for and the row is in the mean once.
        wanted = min(k + 1, len(bank))
        within = neighbours(bank, bank, wanted).sum(dim=1) / wanted
        if train is None:
            x = bank = within
        else:
            x = (x + neighbours(x, bank, min(k, len(bank))).sum(dim=1)) / (min(k, len(bank)) + 1)
            bank = within
    return Features(x.float(), features.y)


def neighbours(x: Tensor, bank: Tensor, k: int) -> Tensor:
    """The `k` nearest (N, k, D) of `bank` (M, D) to each row of `x` (N, D)."""
    return bank[torch.cat([positions for _, positions in nearest(x, bank, k, "cosine")])]
