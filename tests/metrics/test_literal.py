"""Every metric against its paper written literally, on more than a thousand generated cases."""

from __future__ import annotations

import itertools
import math
import os
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from literal import LITERAL, K
from sklearn.metrics import (
    adjusted_rand_score,
    calinski_harabasz_score,
    davies_bouldin_score,
    normalized_mutual_info_score,
    silhouette_score,
)

import dsabench.metrics as metrics
from dsabench.evaluators import Evaluator
from dsabench.metrics import METRICS, clustering
from dsabench.metrics.samples import Samples
from dsabench.probes import PROBES
from dsabench.registry import load

KINDS = (
    "plain", "tight", "tight classes", "two tight classes", "repeated", "alike in classes", "wide", "huge", "tiny",
    "zeros",
)  # fmt: skip
# A thousand cases in all, and more; without TORTURE a share that takes seconds.
ROUNDS = 112 if os.environ.get("TORTURE") else 6
# Their literal forms take no means, whose rounding an origin nearby makes small.
DIFFERENCES = (
    "alignment", "anisotropy", "hubness", "intrinsic_dimension", "map_at_k", "r_precision", "rankme", "silhouette",
    "uniformity",
)  # fmt: skip
# Values are equal to a millionth, however small they are: these differences are the rounding of a zero. So are ratios
# over it, which stand for infinity.
ZERO, INFINITY = {"nc2": 1e-15, "nc2_equinorm": 1e-15, "uniformity": 1e-15}, 1e24
CLUSTERING = ("kmeans_nmi", "kmeans_ari", "kmeans_accuracy")


def case(kind: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and classes, often with a class of one sample, always with gaps in the ids."""
    draw = np.random.default_rng(zlib.crc32(f"{kind} {number}".encode()))
    n, classes = int(draw.integers(6, 40)), int(draw.integers(2, 6))
    dim = int(draw.integers(n, 2 * n)) if kind == "wide" else int(draw.integers(2, 9))
    y = np.concatenate([np.arange(classes), draw.integers(0, classes, n - classes)])
    if number % 3 == 0:
        y = np.append(y, classes)[1:]
    draw.shuffle(y)
    names = np.cumsum(draw.integers(1, 1000, y.max() + 1)) - 500
    names[-1] += 2**40
    means, noise = draw.normal(size=(y.max() + 1, dim)), draw.normal(size=(n, dim))
    x = means[y] + 0.7 * noise
    if kind == "tight":
        x = means[0] + 1e-9 * x
    elif kind == "tight classes":
        x = means[y] + 1e-9 * noise
    elif kind == "two tight classes":
        means[1] = means[0] + 1e-9 * means[1]
        x = means[y] + 1e-9 * noise
    elif kind == "repeated":
        x = x[draw.integers(0, max(4, n // 3), n)]
    elif kind == "alike in classes":
        x = means[y]
    elif kind == "zeros":
        x[draw.integers(0, n, max(1, n // 4))] = 0
    return x * {"huge": 1e6, "tiny": 1e-6}.get(kind, 1.0), names[y]


def undefined(name: str, y: np.ndarray) -> str | None:
    """What the error says where a metric is not defined for classes."""
    counts = np.unique(y, return_counts=True)[1]
    if name in ("alignment", "r_precision", "map_at_k") and counts.max() == 1:
        return "a class with at least 2 samples"
    if name in ("calinski_harabasz", "davies_bouldin", "silhouette") and counts.max() == 1:
        return "fewer classes than samples"
    if name == "hubness" and len(y) <= K + 1:
        return "needs more than 11 samples"
    return None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LITERAL)
def test_metrics_are_as_their_papers_write_them(name: str, kind: str) -> None:
    metric = load(METRICS, "metric", name)
    for number in range(ROUNDS):
        x, y = case(kind, number)
        samples = Samples(x, y)
        error = undefined(name, y)
        if error:
            with pytest.raises(ValueError, match=error):
                metric.of(samples)
            continue
        (rows, codes), *_ = samples.blocks()
        with np.errstate(all="ignore"):
            expected = LITERAL[name]((rows if name in DIFFERENCES else rows - rows[0]).numpy(), codes.numpy())
        found = metric.of(samples)
        if min(found, expected) < INFINITY:
            assert found == pytest.approx(expected, rel=1e-6, abs=ZERO.get(name, 1e-24), nan_ok=True), (kind, number)


def test_every_metric_has_a_literal_form() -> None:
    assert set(METRICS) == {*LITERAL, *CLUSTERING}


@pytest.mark.parametrize(("name", "entry"), [*METRICS.items(), *PROBES.items()])
def test_docstrings_say_source_direction_and_cost(name: str, entry: Evaluator) -> None:
    told = " ".join(str(load(PROBES if entry.kind == "probe" else METRICS, entry.kind, name).__doc__).split())
    assert entry.source.removeprefix("after ") in told
    assert entry.cost in told
    if entry.kind == "metric":
        better = {True: "higher is", False: "lower is", None: "neither direction is better"}[entry.higher_is_better]
        assert entry.formula
        assert better in told.lower()


@pytest.mark.parametrize("name", METRICS)
def test_what_is_not_finite_is_refused(name: str) -> None:
    x, y = case("plain", 1)
    for value in (math.nan, math.inf):
        x[3, 1] = value
        with pytest.raises(ValueError, match="finite; 1 of"):
            load(METRICS, "metric", name)(x, y)


@pytest.mark.parametrize("score", [calinski_harabasz_score, davies_bouldin_score, silhouette_score])
def test_what_scikit_learn_has_is_its_own(score: Callable[[np.ndarray, np.ndarray], float]) -> None:
    x, y = case("plain", 4)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert metrics.measure(x, y, [name := score.__name__.removesuffix("_score")])[name] == pytest.approx(score(unit, y))


def clustered(monkeypatch: pytest.MonkeyPatch, codes: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """The scores of a clustering that is given."""
    given = torch.from_numpy(codes), torch.from_numpy(clusters)
    monkeypatch.setattr(clustering, "_clustered", lambda samples: given)
    return metrics.measure(np.random.default_rng(0).normal(size=(len(codes), 3)), codes, CLUSTERING)


def test_scores_of_a_clustering_are_their_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(10 * ROUNDS):
        draw = np.random.default_rng(seed)
        n, classes = int(draw.integers(8, 40)), int(draw.integers(2, 6))
        codes = np.concatenate([np.arange(classes), draw.integers(0, classes, n - classes)])
        clusters = draw.integers(0, classes, n)
        table = np.array([[np.sum((codes == c) & (clusters == d)) for d in range(classes)] for c in range(classes)])
        p = table / n
        by_class, by_cluster = p.sum(axis=1), p.sum(axis=0)
        entropies = [-sum(q * math.log(q) for q in side if q) for side in (by_class, by_cluster)]
        mutual = sum(
            p[c, d] * math.log(p[c, d] / (by_class[c] * by_cluster[d]))
            for c, d in itertools.product(range(classes), repeat=2)
            if p[c, d]
        )
        pairs = list(itertools.combinations(range(n), 2))
        together = np.array([(codes[i] == codes[j], clusters[i] == clusters[j]) for i, j in pairs])
        both, chance = together.all(axis=1).sum(), together.sum(axis=0).prod() / len(pairs)
        best = max(sum(table[c, d] for c, d in enumerate(order)) for order in itertools.permutations(range(classes)))
        assert clustered(monkeypatch, codes, clusters) == pytest.approx(
            {
                "kmeans_nmi": mutual / np.mean(entropies) if sum(entropies) else 1.0,
                "kmeans_ari": (both - chance) / (together.sum(axis=0).mean() - chance),
                "kmeans_accuracy": best / n,
            },
            abs=1e-9,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_k_means_is_no_worse_than_the_classes(kind: str) -> None:
    for number in range(5):
        x, y = case(kind, number)
        samples = Samples(x, y)
        codes, clusters = clustering._clustered(samples)
        rows = (samples.paired[0] - samples.origin).numpy()

        def inertia(of: np.ndarray, rows: np.ndarray = rows) -> float:
            return sum(np.sum((rows[of == c] - rows[of == c].mean(axis=0)) ** 2) for c in np.unique(of))

        assert len(np.unique(clusters)) <= samples.n_classes
        assert inertia(clusters.numpy()) <= inertia(codes.numpy()) * 1.05 + 1e-15
        found = metrics.measure(x, y, CLUSTERING)
        assert found == metrics.measure(x, y, CLUSTERING)
        assert found["kmeans_nmi"] == pytest.approx(normalized_mutual_info_score(codes, clusters))
        assert found["kmeans_ari"] == pytest.approx(adjusted_rand_score(codes, clusters))
        if kind == "tight classes":
            assert found == pytest.approx(dict.fromkeys(CLUSTERING, 1.0))
