"""The metrics beyond the core, against their papers written literally, on a thousand generated cases."""

from __future__ import annotations

import itertools
import math
import zlib

import numpy as np
import pytest
import torch
from literal import LITERAL, K
from sklearn.metrics import adjusted_rand_score, calinski_harabasz_score, normalized_mutual_info_score

import dsabench.metrics as metrics
from dsabench.metrics import METRICS, clustering, distances
from dsabench.metrics.samples import Samples
from dsabench.registry import load

KINDS = ("plain", "tight", "tight classes", "two tight classes", "repeated", "alike in classes", "wide", "huge", "tiny")
ROUNDS = 112
# Their literal forms take no means, whose rounding an origin nearby makes small.
DIFFERENCES = ("anisotropy", "silhouette", "r_precision", "map_at_k", "hubness", "intrinsic_dimension")
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
    return x * {"huge": 1e6, "tiny": 1e-6}.get(kind, 1.0), names[y]


def undefined(name: str, y: np.ndarray) -> str | None:
    """What the error says where a metric is not defined for classes."""
    counts = np.unique(y, return_counts=True)[1]
    if len(counts) < 2:
        return "at least 2 classes"
    if name in ("r_precision", "map_at_k") and counts.max() == 1:
        return "a class with at least 2 samples"
    if name in ("calinski_harabasz", "silhouette") and counts.max() == 1:
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
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True), (kind, number)


def test_every_extra_metric_has_a_literal_form() -> None:
    assert {name for name, entry in METRICS.items() if entry.tier == "extra"} == {
        *LITERAL,
        *CLUSTERING,
        "alignment",
    } - {"silhouette"}


@pytest.mark.parametrize("name", [name for name, entry in METRICS.items() if entry.tier == "extra"])
def test_what_is_not_finite_is_refused(name: str) -> None:
    x, y = case("plain", 1)
    for value in (math.nan, math.inf):
        x[3, 1] = value
        with pytest.raises(ValueError, match="finite; 1 of"):
            load(METRICS, "metric", name)(x, y)


def test_blocks_and_the_way_to_distances_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = case("plain", 5)
    names = [name for name, entry in METRICS.items() if entry.tier == "extra"]
    whole = metrics.measure(x, y, names)
    monkeypatch.setattr(distances, "BLOCK_ROWS", 5)
    monkeypatch.setattr("dsabench.metrics.samples.BLOCK_BYTES", 8 * x.shape[1] * 7)
    assert metrics.measure(x, y, names) == pytest.approx(whole, rel=1e-9)
    monkeypatch.setattr(distances, "TRUSTED", 10.0)
    assert metrics.measure(x, y, names) == pytest.approx(whole, rel=1e-9)


def test_directional_cdnv_is_at_most_cdnv_and_finds_the_direction() -> None:
    draw = np.random.default_rng(0)
    y = np.arange(4000) % 2
    # Far from the origin the sphere is flat: two classes 2 apart, spread .1 between them and 1 across.
    x = np.stack([2.0 * y + 0.1 * draw.normal(size=4000), draw.normal(size=4000), np.full(4000, 1e4)], axis=1)
    assert metrics.directional_cdnv(x, y) == pytest.approx(0.1**2 / 2**2, rel=0.1)
    assert metrics.cdnv(x, y) == pytest.approx(1.01 / 2**2, rel=0.1)


def test_collapsed_classes_on_a_simplex_are_neural_collapse() -> None:
    y = np.arange(40) % 5
    x = np.eye(5)[y]
    found = metrics.measure(x, y, ["nc1", "nc2", "nc2_equinorm", "class_overlap", "nearest_class_gap"])
    assert found == pytest.approx({"nc1": 0, "nc2": 0, "nc2_equinorm": 0, "class_overlap": 0, "nearest_class_gap": 2})
    stretched = x * np.array([1, 1, 1, 1, 1]) + 0.5 * np.eye(5)[0]
    assert metrics.nc2(stretched, y) > 0.1


def test_two_nn_finds_the_dimension_of_a_patch() -> None:
    draw = np.random.default_rng(1)
    patch = np.concatenate([draw.uniform(-0.01, 0.01, size=(2000, 2)), np.ones((2000, 1)), np.zeros((2000, 7))], axis=1)
    assert metrics.intrinsic_dimension(patch, np.zeros(2000, int)) == pytest.approx(2, abs=0.15)


def test_a_hub_is_found() -> None:
    draw = np.random.default_rng(2)
    # In many dimensions, what lies near the centre of the cloud is everyone's neighbour.
    y = np.zeros(300, int)
    low, high = (draw.normal(1.5, size=(300, dim)) for dim in (3, 200))
    assert metrics.hubness(high, y) > 2 > metrics.hubness(low, y)
    assert metrics.METRICS["hubness"].options == {"k": 10}
    assert metrics.hubness(high, y, k=30) != metrics.hubness(high, y)


def test_anisotropy_is_that_of_a_cone() -> None:
    draw = np.random.default_rng(3)
    x = draw.normal(size=(2000, 50))
    assert abs(metrics.anisotropy(x, np.zeros(2000, int))) < 0.01
    assert metrics.anisotropy(x + 100, np.zeros(2000, int)) > 0.99


def test_calinski_harabasz_is_that_of_scikit_learn() -> None:
    x, y = case("plain", 4)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert metrics.calinski_harabasz(x, y) == pytest.approx(calinski_harabasz_score(unit, y))


def clustered(monkeypatch: pytest.MonkeyPatch, codes: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """The scores of a clustering that is given."""
    given = torch.from_numpy(codes), torch.from_numpy(clusters)
    monkeypatch.setattr(clustering, "_clustered", lambda samples: given)
    return metrics.measure(np.random.default_rng(0).normal(size=(len(codes), 3)), codes, CLUSTERING)


def test_scores_of_a_clustering_are_their_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(100):
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
