"""DSA, the Dynamic Semantic Adjuster (arXiv 2407.13541): its formulas as pure functions, then our label-free module.

The functions normalise their inputs to unit length and keep their type, float32 or float64. Neighbours are counted
from cosines in float64, rounded to 2^-40: images that are copies of each other then tie exactly, whatever the order
in which a product was summed, and ties go to the lower index.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsabench.registry import Scalar
from dsabench.regularizers.pairs import PairNetwork
from dsabench.regularizers.priors import build_prior, prior_facts
from dsabench.regularizers.queue import FeatureQueue
from dsabench.shared import gather_rows, require, require_word
from dsabench.types import LabelledViews, MethodOutput, Regularizer, RegularizerFacts, Views

# Below this squared distance (in units of the type's epsilon) two unit vectors are the same point: what is left
# of 2 - 2 cos there is rounding, and its square root would be a distance with a gradient of noise.
COINCIDENT_EPS = 8.0


def pairwise_distance(x: Tensor, y: Tensor) -> Tensor:
    """Distances (N, M) of unit vectors `x` (N, D) and `y` (M, D); 0, with a zero gradient, where they coincide."""
    squared = 2.0 - 2.0 * (x @ y.T)
    apart = squared > COINCIDENT_EPS * torch.finfo(squared.dtype).eps
    return torch.where(apart, squared, 1.0).sqrt() * apart


def neighbour_matrix(u: Tensor, k: int, *, include_self: bool, first: int | None = None) -> Tensor:
    """The 0/1 matrix (N, N) float32 whose row i marks the k nearest of `u` (N, D) to i by cosine.

    With `include_self` i is one of its k neighbours, without it never is, also where copies of it exist. `first` asks
    for the rows of the first samples alone. Raises ValueError unless 1 <= k <= N - 1.
    """
    if u.ndim != 2:
        raise ValueError(f"expected features of shape (N, D), got {tuple(u.shape)}")
    if not 1 <= k <= len(u) - 1:
        raise ValueError(f"k = {k} neighbours need at least k + 1 samples and k >= 1, got {len(u)} samples")
    # MPS has no float64; there ties are as exact as float32 leaves them.
    unit = functional.normalize(u if u.device.type == "mps" else u.double(), dim=1)
    cosine = (unit[:first] @ unit.T).mul_(2.0**40).round_()
    cosine.fill_diagonal_(torch.inf if include_self else -torch.inf)
    last = cosine.topk(k, dim=1).values[:, -1:]
    nearer = cosine > last
    tied = cosine == last
    room = k - nearer.sum(dim=1, keepdim=True)
    return (nearer | (tied & (tied.cumsum(dim=1) <= room))).float()


@torch.no_grad()
def good_neighbour_scores(u: Tensor, k: int, mu: float, first: int | None = None) -> Tensor:
    """How well connected each sample is, s (N,) in [0, 1]; outliers get little.

    `A` is the adjacency of the k nearest neighbours of `u` (N, D), self excluded, and `P = A @ A` counts two-step
    paths: s_i = (1/k) sum_j A_ij [P_ji > mu]. `first` asks for the scores of the first samples alone, among all.
    Raises ValueError unless 1 <= k <= N - 1.
    """
    adjacency = neighbour_matrix(u, k, include_self=False)
    # Counts are below 2^24, so float32 holds them exactly.
    paths = adjacency @ adjacency[:, :first]
    connected = paths.T > mu
    return (adjacency[:first] * connected).sum(dim=1).to(u.dtype) / k


def exponential_similarity(u1: Tensor, u2: Tensor, temperature: float) -> Tensor:
    """The published prior T (N, M) = exp(-||u1_i - u2_j|| / temperature), in (0, 1]."""
    distance = pairwise_distance(functional.normalize(u1, dim=1), functional.normalize(u2, dim=1))
    return torch.exp(-distance / temperature)


@torch.no_grad()
def shared_neighbour_similarity(u: Tensor, k: int, first: int | None = None) -> Tensor:
    """T (N, N) in [0, 1] from shared neighbours: min(1, 2 J) of the Jaccard index J of k-neighbourhoods, T_ii = 1.

    The k nearest neighbours of `u` (N, D) include the sample itself, so that every row of `A` has k ones; with
    I = A A^T, J = I / (2k - I). `first` asks for the pairs of the first samples alone, by their neighbours among all.
    Raises ValueError unless 1 <= k <= N - 1.
    """
    adjacency = neighbour_matrix(u, k, include_self=True, first=first)
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


class DSA(Regularizer):
    """DSA with a prior that the run itself learns: which images are similar is read off its neighbourhoods.

    Terms: `dsa_adjust`, lambda1 times the adjustment loss on the embeddings of both views, and `dsa_prior`, lambda2
    times the root mean square of M - T over the pairs, which trains the pair network alone. Options:

    - `lambda1`, `lambda2`: the weights, >= 0; `start`: the share of training before lambda1 is switched on.
    - `prior`: what the neighbourhoods are of (`dsabench.regularizers.priors`); `momentum`: of the `ema` prior.
    - `similarity`: `nested` neighbours (the mean of the shared-neighbour similarities of k and of k / 2: pairs that
      only the wider neighbourhood joins are left alone), `shared` neighbours, the published `exponential`, or
      `constant` (nothing is similar to an image but itself).
    - `queue`: past features among which neighbours are looked for too, 0 for none.
    - `k`, `eta`: neighbours for the similarity and for the scores, at most a quarter of the samples; `mu`: the two-step
      paths that a good neighbour has to exceed.
    - `m`: `learned` by the pair network, or `prior` (M = T, nothing learned).
    - `scores`: whether good-neighbour scores weigh the samples (otherwise all are 1).
    - `adjust`: `both`, or only `pull` (M >= 1/2) or `push` (M <= 1/2).
    - `shuffle`: whether T is given to the wrong images, at random: as much structure, none of its meaning.
    - `temperature`, `prior_temperature`: of the adjustment loss and of the exponential similarity.

    Raises ValueError for an option out of its range.
    """

    smallest_batch = 5

    def __init__(
        self,
        encoder: nn.Module,
        feature_dim: int,
        embedding_dim: int,
        *,
        lambda1: float = 5.0,
        lambda2: float = 1.0,
        start: float = 0.3,
        prior: str = "ema",
        momentum: float = 0.99,
        similarity: str = "nested",
        queue: int = 0,
        k: int = 20,
        eta: int = 20,
        mu: float = 1.0,
        m: str = "learned",
        scores: bool = True,
        adjust: str = "both",
        shuffle: bool = False,
        temperature: float = 0.5,
        prior_temperature: float = 0.5,
    ) -> None:
        super().__init__()
        require(lambda1 >= 0 and lambda2 >= 0, "lambda1 and lambda2 must be >= 0")
        require(0 <= start <= 1 and 0 <= momentum <= 1, "start and momentum must lie in [0, 1]")
        require_word("similarity", similarity, ("nested", "shared", "exponential", "constant"))
        require_word("m", m, ("learned", "prior"))
        require_word("adjust", adjust, ("both", "pull", "push"))
        require(k >= 1 and eta >= 1, "k and eta must be >= 1")
        require(queue == 0 or queue >= max(k, eta), f"a queue must hold at least max(k, eta) = {max(k, eta)} features")
        require(queue == 0 or prior != "labels", "a queue has no use for the labels prior, which compares classes")
        require(temperature > 0 and prior_temperature > 0, "temperature and prior_temperature must be > 0")
        self.lambda1, self.lambda2, self.start = lambda1, lambda2, start
        self.similarity, self.scores, self.k, self.eta, self.mu = similarity, scores, k, eta, mu
        self.adjust, self.shuffle = adjust, shuffle
        self.temperature, self.prior_temperature = temperature, prior_temperature
        self.needs_labels = prior == "labels"
        self.prior = build_prior(prior, encoder, feature_dim, momentum)
        self.queue = FeatureQueue(queue, self.prior.feature_dim) if queue else None
        self.pair_network = PairNetwork(embedding_dim) if m == "learned" else None

    @classmethod
    def facts(cls, options: Mapping[str, Scalar]) -> RegularizerFacts:
        return prior_facts(str(options["prior"]))

    def forward(self, output: MethodOutput, views: Views | LabelledViews, progress: float) -> dict[str, Tensor]:
        u = self.prior(output, views)
        with torch.autocast(output.z1.device.type, enabled=False):
            prior, scores = self.relate(gather_rows(u.float()))
            z = torch.cat([gather_rows(output.z1.float()), gather_rows(output.z2.float())])
            prior, scores = prior.repeat(2, 2), scores.repeat(2)
            terms, similarity = {}, prior
            if self.pair_network is not None:
                learned = self.pair_network(z.detach())
                # A norm, not a root of a mean, for its subgradient of 0 where M = T.
                terms["dsa_prior"] = self.lambda2 * torch.linalg.vector_norm(learned - prior) / len(z)
                similarity = learned.detach()
            if self.adjust != "both":
                low, high = (0.5, 1.0) if self.adjust == "pull" else (0.0, 0.5)
                similarity = similarity.clamp(low, high)
            weight = self.lambda1 if progress >= self.start else 0.0
            # At weight 0 nothing may reach the student, not even a gradient of zeros.
            adjustment = adjustment_loss(z if weight else z.detach(), similarity, scores, self.temperature)
            terms["dsa_adjust"] = weight * adjustment
        self.observe(similarity, scores)
        return terms

    @torch.no_grad()
    def relate(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity T (N, N) and scores s (N,) from the prior's features `u` (N, P) of the global batch."""
        images = len(u)
        bank = u if self.queue is None else self.queue.bank(u)
        if self.queue is not None:
            self.queue.push(u)
        bank = bank - bank.mean(dim=0)
        most = max(1, (len(bank) - 1) // 4)
        k, eta = min(self.k, most), min(self.eta, most)
        self.diagnostics = {"dsa_k": torch.tensor(float(k))}
        if self.needs_labels:
            # The classes themselves, not the centred ones of the bank.
            prior = (u == u.T).to(u.dtype)
        elif self.similarity == "constant":
            prior = torch.eye(images, dtype=u.dtype, device=u.device)
        elif self.similarity == "exponential":
            prior = exponential_similarity(bank[:images], bank[:images], self.prior_temperature)
        else:
            sizes = (k, max(1, k // 2)) if self.similarity == "nested" else (k,)
            prior = torch.stack([shared_neighbour_similarity(bank, size, images) for size in sizes]).mean(dim=0)
        if self.shuffle:
            order = torch.randperm(images).to(u.device)
            prior = prior[order][:, order]
        scores = good_neighbour_scores(bank, eta, self.mu, images) if self.scores else u.new_ones(images)
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
        self.prior.after_step()
