"""The metrics as their papers write them: loops and whole matrices, for tests alone.

Each takes unit rows `u` (N, D), about the first of them so that tight features keep their digits, and classes 0..C-1
`y` (N,).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import linregress, skew

Array = np.ndarray
K = 10


def by_class(u: Array, y: Array) -> list[Array]:
    return [u[y == c] for c in range(y.max() + 1)]


def means_of(u: Array, y: Array) -> Array:
    return np.stack([members.mean(axis=0) for members in by_class(u, y)])


def ratio(over: float, under: float) -> float:
    return over / under if under else math.inf if over else math.nan


def intra_class_variance(u: Array, y: Array) -> float:
    return float(np.mean([np.sum((members - members.mean(axis=0)) ** 2) / len(members) for members in by_class(u, y)]))


def inter_class_separation(u: Array, y: Array) -> float:
    return float(np.mean([np.sum((m - o) ** 2) for m, o in itertools.combinations(means_of(u, y), 2)]))


def cdnv(u: Array, y: Array) -> float:
    mu = means_of(u, y)
    variances = [np.mean(np.sum((members - m) ** 2, axis=1)) for members, m in zip(by_class(u, y), mu, strict=True)]
    pairs = itertools.permutations(range(len(mu)), 2)
    return float(np.mean([ratio(variances[c] + variances[d], 2 * np.sum((mu[c] - mu[d]) ** 2)) for c, d in pairs]))


def fisher_ratio(u: Array, y: Array) -> float:
    mu, centre = means_of(u, y), u.mean(axis=0)
    between = sum((y == c).sum() * np.outer(m - centre, m - centre) for c, m in enumerate(mu))
    within = sum(np.outer(row - mu[c], row - mu[c]) for row, c in zip(u, y, strict=True))
    return ratio(np.trace(between), np.trace(within))


def davies_bouldin(u: Array, y: Array) -> float:
    mu = means_of(u, y)
    if not np.ptp(mu, axis=0).any():
        return math.nan
    radii = [np.mean(np.linalg.norm(members - m, axis=1)) for members, m in zip(by_class(u, y), mu, strict=True)]
    worst = np.zeros(len(mu))
    for c, d in itertools.permutations(range(len(mu)), 2):
        length = np.linalg.norm(mu[c] - mu[d])
        if length:
            worst[c] = max(worst[c], (radii[c] + radii[d]) / length)
    return float(worst.mean())


def uniformity(u: Array, y: Array) -> float:
    return math.log(np.mean([math.exp(-2 * np.sum((a - b) ** 2)) for a, b in itertools.combinations(u, 2)]))


def rankme(u: Array, y: Array) -> float:
    singular = np.linalg.svd(u, compute_uv=False)
    if not singular.any():
        return 0.0
    return math.exp(-sum(p * math.log(p) for p in singular / singular.sum() + 1e-7))


def feature_std(u: Array, y: Array) -> float:
    return float(np.mean([math.sqrt(np.mean((column - column.mean()) ** 2)) for column in u.T]))


def alignment(u: Array, y: Array) -> float:
    pairs = [np.sum((u[i] - u[j]) ** 2) for i, j in itertools.combinations(range(len(y)), 2) if y[i] == y[j]]
    return float(np.mean(pairs))


def directional_cdnv(u: Array, y: Array) -> float:
    mu, values = means_of(u, y), []
    for c, d in itertools.permutations(range(len(mu)), 2):
        line = mu[c] - mu[d]
        length = np.linalg.norm(line)
        if length == 0:
            values.append(math.inf if np.ptp(u[y == c], axis=0).any() else math.nan)
            continue
        along = (u[y == c] - mu[c]) @ (line / length)
        values.append(np.mean(along**2) / length**2)
    return float(np.mean(values))


def nearest_class_gap(u: Array, y: Array) -> float:
    mu = means_of(u, y)
    return float(np.mean([min(np.sum((m - o) ** 2) for o in np.delete(mu, c, axis=0)) for c, m in enumerate(mu)]))


def class_overlap(u: Array, y: Array) -> float:
    mu, count = means_of(u, y), 0
    for row, c in zip(u, y, strict=True):
        apart = np.linalg.norm(mu - row, axis=1)
        # A tie overlaps, whatever its last digits.
        count += bool(min(np.delete(apart, c)) <= apart[c] * (1 + 1e-12))
    return count / len(u)


def calinski_harabasz(u: Array, y: Array) -> float:
    mu, centre, n, c = means_of(u, y), u.mean(axis=0), len(u), y.max() + 1
    between = sum((y == k).sum() * np.sum((m - centre) ** 2) for k, m in enumerate(mu))
    within = sum(np.sum((row - mu[k]) ** 2) for row, k in zip(u, y, strict=True))
    return ratio(between / (c - 1), within / (n - c))


def nc1(u: Array, y: Array) -> float:
    mu = means_of(u, y)
    within = np.mean([np.cov(members.T, bias=True).reshape(u.shape[1], -1) for members in by_class(u, y)], axis=0)
    between = np.cov(mu.T, bias=True).reshape(u.shape[1], -1)
    if not between.any():
        return ratio(np.trace(within), 0.0)
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-12, hermitian=True)) / len(mu))


def nc2(u: Array, y: Array) -> float:
    mu = means_of(u, y)
    centred = mu - mu.mean(axis=0)
    if not centred.any():
        return math.nan
    gram = centred @ centred.T
    frame = (np.eye(len(mu)) - np.ones((len(mu), len(mu))) / len(mu)) / math.sqrt(len(mu) - 1)
    return float(np.linalg.norm(gram / np.linalg.norm(gram) - frame))


def nc2_equinorm(u: Array, y: Array) -> float:
    mu = means_of(u, y)
    lengths = [np.linalg.norm(m - mu.mean(axis=0)) for m in mu]
    return ratio(float(np.std(lengths)), float(np.mean(lengths)))


def order(distances: Array) -> list[tuple[int, list[int]]]:
    """The others by distance, as groups of equals up to rounding: (rank of the first, members)."""
    groups: list[tuple[int, list[int]]] = []
    at = -1.0
    for rank, j in enumerate(np.argsort(distances)[: np.isfinite(distances).sum()]):
        if distances[j] > at * (1 + 1e-12) or not groups:
            at = distances[j]
            groups.append((rank, []))
        groups[-1][1].append(int(j))
    return groups


def neighbours(u: Array) -> Array:
    distances = cdist(u, u)
    np.fill_diagonal(distances, np.inf)
    return distances


def r_precision(u: Array, y: Array) -> float:
    values = []
    for i, distances in enumerate(neighbours(u)):
        mates = int((y == y[i]).sum()) - 1
        hits = 0.0
        for start, members in order(distances):
            share = min(max(mates - start, 0), len(members)) / len(members)
            hits += share * sum(y[j] == y[i] for j in members)
        if mates:
            values.append(hits / mates)
    return float(np.mean(values))


def map_at_k(u: Array, y: Array) -> float:
    values = []
    for i, distances in enumerate(neighbours(u)):
        # Rank p holds one of its group at random: the chance of a mate there, and of one at two ranks.
        ranks = [(n, len(m), sum(y[j] == y[i] for j in m)) for n, (_, m) in enumerate(order(distances)) for _ in m]
        total = 0.0
        for p, (group, n, r) in enumerate(ranks[:K]):
            expected = r / n
            for other, m, s in ranks[:p]:
                expected += (r / n) * ((s - 1) / (m - 1) if other == group else s / m)
            total += expected / (p + 1)
        mates = int((y == y[i]).sum()) - 1
        if mates:
            values.append(total / min(mates, K))
    return float(np.mean(values))


def hubness(u: Array, y: Array) -> float:
    occurrence = np.zeros(len(u))
    for distances in neighbours(u):
        for start, members in order(distances):
            occurrence[members] += min(max(K - start, 0), len(members)) / len(members)
    return float(skew(occurrence)) if np.ptp(occurrence) > 1e-9 else math.nan


def deviations(u: Array) -> Array:
    return np.linalg.svd(u - u.mean(axis=0), compute_uv=False)


def effective_rank(u: Array, y: Array) -> float:
    eigenvalues = deviations(u) ** 2
    if not eigenvalues.any():
        return math.nan
    shares = eigenvalues[eigenvalues > 0] / eigenvalues.sum()
    return math.exp(-sum(p * math.log(p) for p in shares))


def alpha_req(u: Array, y: Array) -> float:
    found = deviations(u)
    kept = found[found > 1e-6 * found[0]] ** 2
    return -linregress(np.log(np.arange(len(kept)) + 1), np.log(kept)).slope if len(kept) > 1 else math.nan


def anisotropy(u: Array, y: Array) -> float:
    return float(np.mean([u[i] @ u[j] for i, j in itertools.permutations(range(len(u)), 2)]))


def intrinsic_dimension(u: Array, y: Array) -> float:
    points = np.unique(u, axis=0)
    if len(points) < 3:
        return math.nan
    nearest = np.sort(neighbours(points), axis=1)
    mu = np.sort(nearest[:, 1] / nearest[:, 0])
    empirical = np.arange(1, len(mu) + 1) / len(mu)
    kept = int(0.9 * len(mu))
    x, f = np.log(mu[:kept]), -np.log(1 - empirical[:kept])
    return ratio(float(x @ f), float(x @ x))


def silhouette(u: Array, y: Array) -> float:
    distances, values = cdist(u, u), []
    for i, c in enumerate(y):
        own = (y == c) & (np.arange(len(y)) != i)
        if not own.any():
            values.append(0.0)
            continue
        a = distances[i, own].mean()
        b = min(distances[i, y == d].mean() for d in range(y.max() + 1) if d != c)
        values.append((b - a) / max(a, b) if max(a, b) else 0.0)
    return float(np.mean(values))


LITERAL: dict[str, Callable[[Array, Array], float]] = {
    function.__name__: function
    for function in (
        intra_class_variance, inter_class_separation, cdnv, fisher_ratio, silhouette, davies_bouldin, uniformity,
        rankme, feature_std, alignment, directional_cdnv, nearest_class_gap, class_overlap, calinski_harabasz, nc1, nc2,
        nc2_equinorm, r_precision, map_at_k, hubness, effective_rank, alpha_req, anisotropy, intrinsic_dimension,
    )
}  # fmt: skip
