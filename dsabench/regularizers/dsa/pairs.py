"""Networks that learn the similarity M of pairs of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PairNetwork(nn.Module):
    """M (R, R) = sigmoid(a cos(g(z_i), g(z_j)) + b) of embeddings z (R, D): symmetric, one matrix product.

    The published network takes the differences of all pairs, an (R * R, D) tensor; this one is its low-rank sibling.
    The embeddings are standardised over the batch first: those of BYOL share a large mean, beside which all of their
    cosines are near 1 and M could not tell one pair from another.
    """

    WIDTH = 64

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(embedding_dim, self.WIDTH, bias=False)
        # M starts near 0 for unrelated pairs and crosses 1/2 at a cosine of 1/2. The parameters are a / 10 and b / 10:
        # an optimiser moves every parameter by about the same amount, and these have further to go than a weight.
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.offset = nn.Parameter(torch.tensor(-0.5))

    def forward(self, z: Tensor) -> Tensor:
        g, slope, offset = self.parts(z)
        return torch.sigmoid(slope * (g @ g.T) + offset)

    def parts(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit rows g (R, `WIDTH`), and the scalars a and b."""
        standard = functional.batch_norm(z, running_mean=None, running_var=None, training=True)
        return functional.normalize(self.projection(standard), dim=1), 10.0 * self.scale, 10.0 * self.offset


class DifferenceNetwork(nn.Module):
    """The published kind: M (N, M) of differences z_i - w_j, one hidden layer, ReLU at the end, rows of L1 norm 1.

    The hidden layer is linear in the difference, so it is computed per sample and subtracted per pair: what is left of
    the (N * M, D) tensor of the published code is the hidden layer itself.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(embedding_dim, embedding_dim)
        self.output = nn.Linear(embedding_dim, 1)

    def forward(self, z: Tensor, w: Tensor) -> Tensor:
        left, right = self.hidden(z), functional.linear(w, self.hidden.weight)
        pairs = self.output(torch.relu(left[:, None] - right[None])).squeeze(-1)
        return functional.normalize(torch.relu(pairs), p=1, dim=1)
