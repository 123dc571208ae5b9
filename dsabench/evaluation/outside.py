"""What features say of another data set: whether they tell it apart, and whether they serve it."""

from __future__ import annotations

import torch
from scipy.stats import rankdata
from torch import Tensor

from dsabench.evaluation.features import splits
from dsabench.evaluation.subject import Subject
from dsabench.probes.base import accuracy_of, numbered
from dsabench.probes.knn import knn
from dsabench.probes.linear import linear
from dsabench.probes.nearest import nearest
from dsabench.types import Features, ProbeResult, Score


def ood(
    train: Features,
    val: Features,
    test: Features,
    *,
    seed: int,
    subject: Subject,
    dataset: str = "synthetic",
    k: int = 50,
) -> ProbeResult:
    """AUROC of the distance to the `k`-th nearest training feature, for the test images of `dataset` among one's own.

    The chance that an image of the other data set lies farther out, by cosine, than a test image, ties counting half:
    Sun et al. 2022, arXiv 2204.06507. The other images are brought to the encoder's size and channels. `val` and `seed`
    are not used. Raises ValueError as `base.numbered` does and where there are fewer than `k` training features, and
    what loading the data set raises.
    Cost: O(N M D), and the features of the other images.
    """
    numbered(train, test=test)
    if len(train.y) < k:
        raise ValueError(f"the {k}-th nearest of {len(train.y)} training features does not exist; use a smaller k")
    strange = subject.features(getattr(subject.elsewhere(dataset), subject.split))
    outside, inside = (_distance(split.x, train.x, k) for split in (strange, test))
    params = {"dataset": dataset, "k": k, "images": len(outside)}
    return ProbeResult([Score("auroc", auroc(outside, inside), params)])


def transfer(
    train: Features, val: Features, test: Features, *, seed: int, subject: Subject, dataset: str = "synthetic"
) -> ProbeResult:
    """Accuracy on the test images of another `dataset` of `linear` and of `knn` that are fitted on its training images.

    Kornblith et al. 2019, arXiv 1805.08974, of frozen features: what `eval --dataset` gives rows of their own for. The
    features of the evaluated data set are not used. Raises ValueError as `linear` does, and what loading raises.
    Cost: O(N M D) of the other images, and their features.
    """
    there = subject.at(subject.elsewhere(dataset))
    fitted, chosen, scored = splits(there, subject.layer, subject.split)
    scores = []
    for name, probe in (("linear", linear), ("knn", knn)):
        (answer,) = probe(fitted, chosen, scored, seed=seed).answers
        params = {"dataset": dataset, "classifier": name, "images": len(scored.y)}
        scores.append(Score("accuracy", accuracy_of(answer, scored.y), params))
    return ProbeResult(scores)


def _distance(queries: Tensor, bank: Tensor, k: int) -> Tensor:
    """One less the cosine of queries (M, D) with the `k`-th nearest of `bank` (N, D): (M,) float64."""
    return torch.cat([1 - similarity[:, -1] for similarity, _ in nearest(queries, bank, k, "cosine")])


def auroc(positive: Tensor, negative: Tensor) -> float:
    """The chance in [0, 1] that one of `positive` (M,) is larger than one of `negative` (N,), ties counting half."""
    ranks = rankdata(torch.cat([positive, negative]).numpy())
    m, n = len(positive), len(negative)
    return float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))
