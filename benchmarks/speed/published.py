"""The terms of DSA as its published code computes them, loops and all, from the formulas in its paper (2407.13541).

Slow on purpose: what `dsa_cost` measures against. `dsabench.regularizers.dsa.reference` computes the same numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dsabench.regularizers.dsa.pairs import DifferenceNetwork


def pair_similarity(network: DifferenceNetwork, x: Tensor, y: Tensor) -> Tensor:
    """M (N, N) of all differences x_i - y_j, stacked row by row into one (N * N, D) tensor; rows of L1 norm 1."""
    rows = []
    for i in range(len(x)):
        rows.append(x[i] - y)
    pairs = torch.cat(rows)
    values = network.output(torch.relu(network.hidden(pairs)))
    return functional.normalize(torch.relu(values).view(len(x), len(y)), p=1, dim=1)


def neighbour_scores(u: Tensor, eta: int, mu: float) -> Tensor:
    """s (N,): for each sample, its neighbours that lead back to it by more than `mu` paths of two steps, counted over
    all pairs, entry by entry."""
    cosine = functional.normalize(u, dim=1) @ functional.normalize(u, dim=1).T
    cosine.fill_diagonal_(-torch.inf)
    n = len(u)
    adjacency = torch.zeros(n, n).scatter_(1, cosine.topk(eta, dim=1).indices, 1.0)
    paths = adjacency @ adjacency
    scores = torch.zeros(n)
    for i in range(n):
        for j in range(n):
            if adjacency[i, j] == 1.0 and paths[j, i] > mu:
                scores[i] += 1.0 / eta
    return scores


def terms(
    z: tuple[Tensor, Tensor],
    u: Tensor,
    prior: tuple[Tensor, Tensor],
    network: DifferenceNetwork,
    *,
    eta: int = 20,
    mu: float = 1.0,
    temperature: float = 0.5,
    prior_temperature: float = 0.5,
    lambda2: float = 0.01,
) -> Tensor:
    """The loss () that the published code adds: embeddings `z` of both views, `u` of the anchors, `prior` of the views.

    As found: the matrices across views are those of one view again, computed again.
    """
    unit = [functional.normalize(view, dim=1) for view in z]
    features = [functional.normalize(view, dim=1) for view in prior]
    scores = neighbour_scores(u, eta, mu)
    total, distance = torch.zeros(()), torch.zeros(())
    itself = torch.eye(len(u), dtype=torch.bool)
    for a in range(2):
        for b in range(2):
            learned = pair_similarity(network, unit[a], unit[a])
            target = torch.exp(-torch.cdist(features[a], features[a]) / prior_temperature)
            apart = torch.cdist(unit[a], unit[b])
            pull = torch.exp(scores[:, None] * (2 * learned - 1) * apart / temperature)
            total = total + (pull.masked_fill(itself, 0.0) if a == b else pull).mean()
            distance = distance + torch.linalg.matrix_norm(learned - target)
    return torch.log(1 + total / 4) + lambda2 / 4 * distance
