"""DSA, the Dynamic Semantic Adjuster (arXiv 2407.13541): its formulas as pure functions, then our label-free module.

The functions normalise their inputs to unit length and keep their type, float32 or float64. Neighbours are counted
from cosines in float64, rounded to 2^-40: images that are copies of each other then tie exactly, whatever the order
in which a product was summed, and ties go to the lower index.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from lightly.utils.dist import gather, world_size
from torch import Tensor, nn
from torch.nn import functional

from dsabench.ema import make_teacher, update_teacher
from dsabench.types import LabelledViews, MethodOutput, Regularizer, Views

# Below this squared distance (in units of the type's epsilon) two unit vectors are the same point: what is left
# of 2 - 2 cos there is rounding, and its square root would be a distance with a gradient of noise.
COINCIDENT_EPS = 8.0


def pairwise_distance(x: Tensor, y: Tensor) -> Tensor:
    """Distances (N, M) of unit vectors `x` (N, D) and `y` (M, D); 0, with a zero gradient, where they coincide."""
    squared = 2.0 - 2.0 * (x @ y.T)
    apart = squared > COINCIDENT_EPS * torch.finfo(squared.dtype).eps
    return torch.where(apart, squared, 1.0).sqrt() * apart


def neighbour_matrix(u: Tensor, k: int, *, include_self: bool) -> Tensor:
    """The 0/1 matrix (N, N) float32 whose row i marks the k nearest of `u` (N, D) to i by cosine.

    With `include_self` i is one of its k neighbours, without it never is, also where copies of it exist.
    Raises ValueError unless 1 <= k <= N - 1.
    """
    if u.ndim != 2:
        raise ValueError(f"expected features of shape (N, D), got {tuple(u.shape)}")
    if not 1 <= k <= len(u) - 1:
        raise ValueError(f"k = {k} neighbours need at least k + 1 samples and k >= 1, got {len(u)} samples")
    # MPS has no float64; there ties are as exact as float32 leaves them.
    unit = functional.normalize(u if u.device.type == "mps" else u.double(), dim=1)
    cosine = (unit @ unit.T).mul_(2.0**40).round_()
    cosine.fill_diagonal_(torch.inf if include_self else -torch.inf)
    last = cosine.topk(k, dim=1).values[:, -1:]
    nearer = cosine > last
    tied = cosine == last
    room = k - nearer.sum(dim=1, keepdim=True)
    return (nearer | (tied & (tied.cumsum(dim=1) <= room))).float()


@torch.no_grad()
def good_neighbour_scores(u: Tensor, k: int, mu: float) -> Tensor:
    """How well connected each sample is, s (N,) in [0, 1]; outliers get little.

    `A` is the adjacency of the k nearest neighbours of `u` (N, D), self excluded, and `P = A @ A` counts two-step
    paths: s_i = (1/k) sum_j A_ij [P_ji > mu]. Raises ValueError unless 1 <= k <= N - 1.
    """
    adjacency = neighbour_matrix(u, k, include_self=False)
    # Counts are below 2^24, so float32 holds them exactly.
    paths = adjacency @ adjacency
    connected = paths.T > mu
    return (adjacency * connected).sum(dim=1).to(u.dtype) / k


def exponential_similarity(u1: Tensor, u2: Tensor, temperature: float) -> Tensor:
    """The published prior T (N, M) = exp(-||u1_i - u2_j|| / temperature), in (0, 1]."""
    distance = pairwise_distance(functional.normalize(u1, dim=1), functional.normalize(u2, dim=1))
    return torch.exp(-distance / temperature)


@torch.no_grad()
def shared_neighbour_similarity(u: Tensor, k: int) -> Tensor:
    """T (N, N) in [0, 1] from shared neighbours: min(1, 2 J) of the Jaccard index J of k-neighbourhoods, T_ii = 1.

    The k nearest neighbours of `u` (N, D) include the sample itself, so that every row of `A` has k ones; with
    I = A A^T, J = I / (2k - I). Raises ValueError unless 1 <= k <= N - 1.
    """
    adjacency = neighbour_matrix(u, k, include_self=True)
    shared = (adjacency @ adjacency.T).to(u.dtype)
    return (2.0 * shared / (2 * k - shared)).clamp(max=1.0)


def adjustment_loss(z: Tensor, similarity: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """The adjustment loss L_adj (): pulls pairs of similarity near 1 together, pushes pairs near 0 apart.

    `z` (2N, D) stacks the embeddings of view 1 over those of view 2, `similarity` is (2N, 2N) in [0, 1] and
    `scores` (2N,). With d_ij = ||z_i - z_j||, the result is
    log(1 + sum_{i != j} exp(s_i (2 M_ij - 1) d_ij / temperature) / (2N)^2). Coincident points are finite and have
    a zero gradient.
    """
    rows = len(z)
    if similarity.shape != (rows, rows) or scores.shape != (rows,):
        raise ValueError(
            f"for z {tuple(z.shape)} expected similarity ({rows}, {rows}) and scores ({rows},), "
            f"got {tuple(similarity.shape)} and {tuple(scores.shape)}"
        )
    unit = functional.normalize(z, dim=1)
    exponent = scores[:, None] * (2.0 * similarity - 1.0) * pairwise_distance(unit, unit) / temperature
    itself = torch.eye(rows, dtype=torch.bool, device=z.device)
    # In logarithms, so that a small temperature does not overflow.
    log_mean = exponent.masked_fill(itself, -torch.inf).flatten().logsumexp(0) - 2.0 * math.log(rows)
    return torch.logaddexp(log_mean, torch.zeros_like(log_mean))


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
        standard = functional.batch_norm(z, running_mean=None, running_var=None, training=True)
        g = functional.normalize(self.projection(standard), dim=1)
        return torch.sigmoid(10.0 * (self.scale * (g @ g.T) + self.offset))


class DSA(Regularizer):
    """Label-free DSA: an EMA teacher's neighbourhoods of the un-augmented anchors say which images are similar.

    Terms: `dsa_adjust`, lambda1 times the adjustment loss on the embeddings of both views, and `dsa_prior`, lambda2
    times the root mean square of M - T over the pairs, which trains the pair network alone. Options:

    - `lambda1`, `lambda2`: the weights, >= 0; `start`: the share of training before lambda1 is switched on.
    - `similarity`: `shared` neighbours, or the published `exponential`, of the prior's features.
    - `m`: `learned` by the pair network, or `prior` (M = T, nothing learned).
    - `scores`: whether good-neighbour scores weigh the samples (otherwise all are 1).
    - `k`, `eta`: neighbours for the similarity and for the scores, at most a quarter of the batch; `mu`: the two-step
      paths that a good neighbour has to exceed.
    - `temperature`, `prior_temperature`: of the adjustment loss and of the exponential similarity.
    - `momentum`: of the teacher, a copy of `encoder` that is always in eval mode.

    Raises ValueError for an option out of its range.
    """

    smallest_batch = 5
    prior = "ema"

    def __init__(
        self,
        encoder: nn.Module,
        feature_dim: int,
        embedding_dim: int,
        *,
        lambda1: float = 2.0,
        lambda2: float = 1.0,
        start: float = 0.3,
        similarity: str = "shared",
        m: str = "learned",
        scores: bool = True,
        k: int = 20,
        eta: int = 20,
        mu: float = 1.0,
        temperature: float = 0.5,
        prior_temperature: float = 0.5,
        momentum: float = 0.99,
    ) -> None:
        super().__init__()
        require(lambda1 >= 0 and lambda2 >= 0, "lambda1 and lambda2 must be >= 0")
        require(0 <= start <= 1 and 0 <= momentum <= 1, "start and momentum must lie in [0, 1]")
        require(
            similarity in ("shared", "exponential"), f"similarity must be shared or exponential, got {similarity!r}"
        )
        require(m in ("learned", "prior"), f"m must be learned or prior, got {m!r}")
        require(k >= 1 and eta >= 1, "k and eta must be >= 1")
        require(temperature > 0 and prior_temperature > 0, "temperature and prior_temperature must be > 0")
        self.lambda1, self.lambda2, self.start, self.momentum = lambda1, lambda2, start, momentum
        self.similarity, self.scores, self.k, self.eta, self.mu = similarity, scores, k, eta, mu
        self.temperature, self.prior_temperature = temperature, prior_temperature
        # In a tuple, so that the student's parameters do not become the regularizer's own.
        self.student = (encoder,)
        self.teacher = make_teacher(encoder).eval()
        self.pair_network = PairNetwork(embedding_dim) if m == "learned" else None

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, output: MethodOutput, views: Views | LabelledViews, progress: float) -> dict[str, Tensor]:
        with torch.no_grad():
            u = self.teacher(views.anchor)
        with torch.autocast(output.z1.device.type, enabled=False):
            prior, scores = self.prior_of(gather_rows(u.float()))
            z = torch.cat([gather_rows(output.z1.float()), gather_rows(output.z2.float())])
            prior, scores = prior.repeat(2, 2), scores.repeat(2)
            terms, similarity = {}, prior
            if self.pair_network is not None:
                learned = self.pair_network(z.detach())
                # A norm, not a root of a mean, for its subgradient of 0 where M = T.
                terms["dsa_prior"] = self.lambda2 * torch.linalg.vector_norm(learned - prior) / len(z)
                similarity = learned.detach()
            weight = self.lambda1 if progress >= self.start else 0.0
            # At weight 0 nothing may reach the student, not even a gradient of zeros.
            adjustment = adjustment_loss(z if weight else z.detach(), similarity, scores, self.temperature)
            terms["dsa_adjust"] = weight * adjustment
        self.observe(similarity, scores)
        return terms

    @torch.no_grad()
    def prior_of(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity T (N, N) and scores s (N,) of the teacher's features `u` (N, D) of the global batch."""
        u = u - u.mean(dim=0)
        most = max(1, (len(u) - 1) // 4)
        k, eta = min(self.k, most), min(self.eta, most)
        self.diagnostics = {"dsa_k": torch.tensor(float(k))}
        if self.similarity == "shared":
            prior = shared_neighbour_similarity(u, k)
        else:
            prior = exponential_similarity(u, u, self.prior_temperature)
        scores = good_neighbour_scores(u, eta, self.mu) if self.scores else u.new_ones(len(u))
        return prior, scores

    @torch.no_grad()
    def observe(self, similarity: Tensor, scores: Tensor) -> None:
        """Keep what the log shows of the last batch: the spread of s, and the pairs with M > 1/2."""
        low, median, high = scores.quantile(scores.new_tensor([0.1, 0.5, 0.9]))
        images = len(scores) // 2
        # The cross-view block holds every ordered pair of images once; an image and itself is no pair.
        self.similar_pairs = (similarity[:images, images:] > 0.5).fill_diagonal_(False)
        pairs = max(1, images * (images - 1))
        self.diagnostics |= {
            "dsa_score_mean": scores.mean(),
            "dsa_score_q10": low,
            "dsa_score_q50": median,
            "dsa_score_q90": high,
            "dsa_similar": self.similar_pairs.sum() / pairs,
        }

    def after_step(self, progress: float) -> None:
        update_teacher(self.student[0], self.teacher, self.momentum)


def require(condition: bool, message: str) -> None:
    """Raise ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def gather_rows(x: Tensor) -> Tensor:
    """The rows of all processes in rank order, with their gradients; `x` itself where there is one process."""
    return torch.cat(gather(x)) if world_size() > 1 else x
