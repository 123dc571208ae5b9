"""DSA in a batch, without labels and after arXiv 2407.13541: which images are similar is read off the neighbourhoods of
features that the run itself learns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dsabench.checks import require, require_word
from dsabench.gather import gather_rows, gather_share, own_rows, share_of, world_size
from dsabench.registry import Scalar
from dsabench.regularizers.base import Regularizer, RegularizerFacts
from dsabench.regularizers.dsa.adjustment import pair_terms
from dsabench.regularizers.dsa.definitions import exponential_similarity
from dsabench.regularizers.dsa.neighbourhoods import (
    fewest_samples,
    most_neighbours,
    nearest,
    scores_of_neighbours,
    similarity_of_neighbours,
    warn_of_few_samples,
)
from dsabench.regularizers.dsa.pairs import PairNetwork
from dsabench.regularizers.dsa.priors import build_prior, count_nonfinite, prior_facts
from dsabench.regularizers.dsa.queue import FeatureQueue
from dsabench.transfer import send
from dsabench.types import LabelledViews, MethodOutput, Views, widened

# What `adjust` leaves of M: all of it, only what pulls, only what pushes.
BOUNDS = {"both": (0.0, 1.0), "pull": (0.5, 1.0), "push": (0.0, 0.5)}


class NestedDSA(Regularizer):
    """Loss terms that draw similar images of a batch together and push the others apart, beside any SSL method.

    Which images are similar is read off the neighbourhoods of a prior's features. In a loop of your own:

        dsa = NestedDSA(backbone, feature_dim, embedding_dim)
        optimizer.add_param_group({"params": dsa.parameters(), "lr": 1e-2})
        ...
        terms = dsa(MethodOutput(loss, h1, h2, z1, z2), Views(anchor, view1, view2), step / steps)
        total = loss + sum(terms.values())
        ...
        dsa.after_step((step + 1) / steps)

    Call: `forward(output, views, progress)` of a `MethodOutput`, whose embeddings `z1`, `z2` (B, P) need no
    normalisation, the `Views` that they are of, and the share of training done, in [0, 1]. It returns the weighted
    terms, each a scalar to be added to the loss: `dsa_adjust`, lambda1 times the adjustment loss on the embeddings of
    both views (0 before `start`), and `dsa_prior`, lambda2 times the root mean square of M - T over the pairs, which
    trains the pair network alone. `after_step(progress)` after each optimiser step moves the teacher. What the log
    shows of the last batch is in `diagnostics`, and the pairs taken for similar are in `similar_pairs` (B, B), of
    several processes (B, N): their own images' with those of the global batch.

    Construction: `encoder` is the backbone that is trained, images (B, C, H, W) to features (B, `feature_dim`), which
    the `ema` prior copies and follows; `embedding_dim` is the width P of the embeddings. What trains of the module is
    its pair network, at a learning rate of its own: `dsabench pretrain` gives it AdamW at 1e-2 without decay. Options:

    - `lambda1`, `lambda2`: the weights, >= 0; `start`: the share of training before lambda1 is switched on.
    - `prior`: what the neighbourhoods are of: `ema`, `self`, `random`, `frozen:MODEL` or `labels` (see
      `regularizers.dsa.priors`); `momentum`: of the `ema` prior, whose teacher looks at each image every
      `ema_every`-th time only, which takes `num_images`, of the training split, and views with an `index`.
    - `similarity`: `nested` neighbours (the mean of the shared-neighbour similarities of k and of k / 2: pairs that
      only the wider neighbourhood joins are left alone), `shared` neighbours, the published `exponential`, or
      `constant` (nothing is similar to an image but itself).
    - `queue`: past features among which neighbours are looked for too, 0 for none.
    - `k`, `eta`: neighbours for the similarity and for the scores, fewer in a small batch; `mu`: the two-step paths
      that a good neighbour has to exceed.
    - `m`: `learned` by the pair network, or `prior` (M = T, nothing learned).
    - `scores`: whether good-neighbour scores weigh the samples (otherwise all are 1).
    - `adjust`: `both`, or only `pull` (M >= 1/2) or `push` (M <= 1/2).
    - `shuffle`: whether T is given to the wrong images, at random: as much structure, none of its meaning.
    - `temperature`, `prior_temperature`: of the adjustment loss and of the exponential similarity.
    - `balance`: whether lambda1 is relative to the method's gradient (`Regularizer`).

    A neighbourhood holds at most a quarter of the other images (`neighbourhoods.OTHERS_PER_NEIGHBOUR`), so that one
    neighbour takes a batch of 5 images, the `smallest_batch`; two, below which no two images are similar, take 9, and
    all of k = 20 take 81.

    Raises ValueError for an option out of its range. Warns, once, where the neighbourhoods of so small a batch say
    nothing. Features of the prior that are not finite raise RunFailed on a CPU; on other devices, where to look would
    be to wait, they make the terms NaN, and `dsa_prior_nonfinite` of the diagnostics counts them.
    """

    smallest_batch = fewest_samples(neighbours=1)

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
        ema_every: int = 1,
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
        balance: bool = False,
        num_images: int = 0,
    ) -> None:
        super().__init__(balance=balance)
        require(lambda1 >= 0 and lambda2 >= 0, "lambda1 and lambda2 must be >= 0")
        require(0 <= start <= 1 and 0 <= momentum <= 1, "start and momentum must lie in [0, 1]")
        require_word("similarity", similarity, ("nested", "shared", "exponential", "constant"))
        require_word("m", m, ("learned", "prior"))
        require_word("adjust", adjust, tuple(BOUNDS))
        require(k >= 1 and eta >= 1, "k and eta must be >= 1")
        require(queue == 0 or queue >= max(k, eta), f"a queue must hold at least max(k, eta) = {max(k, eta)} features")
        require(queue == 0 or prior != "labels", "a queue has no use for the labels prior, which compares classes")
        require(queue == 0 or prior != "pixels", "a queue keeps features, and the pixels prior has none")
        require(1 <= ema_every <= 100, f"ema_every must lie in 1 to 100, got {ema_every}")
        require(ema_every == 1 or prior == "ema", "ema_every is an option of the ema prior")
        require(ema_every == 1 or num_images > 0, "ema_every above 1 needs num_images, to keep the features of each")
        require(temperature > 0 and prior_temperature > 0, "temperature and prior_temperature must be > 0")
        self.lambda1, self.lambda2, self.start = lambda1, lambda2, start
        self.similarity, self.scores, self.k, self.eta, self.mu = similarity, scores, k, eta, mu
        self.adjust, self.shuffle = adjust, shuffle
        self.warned = False
        self.temperature, self.prior_temperature = temperature, prior_temperature
        self.needs_labels = prior == "labels"
        self.prior = build_prior(prior, encoder, feature_dim, momentum, every=ema_every, num_images=num_images)
        self.queue = FeatureQueue(queue, self.prior.feature_dim) if queue else None
        self.pair_network = PairNetwork(embedding_dim) if m == "learned" else None

    @classmethod
    def facts(cls, options: Mapping[str, Scalar]) -> RegularizerFacts:
        return prior_facts(str(options["prior"]))

    def forward(self, output: MethodOutput, views: Views | LabelledViews, progress: float) -> dict[str, Tensor]:
        """The weighted terms of a batch, each (), when `progress` in [0, 1] of training is done; see the class."""
        u = self.prior(output, views)
        with torch.autocast(output.z1.device.type, enabled=False):
            prior, scores = self.relate(gather_rows(widened(u)))
            z = torch.cat([gather_rows(widened(output.z1)), gather_rows(widened(output.z2))])
            weight = self.lambda1 if progress >= self.start else 0.0
            pairs = pair_terms(
                # At weight 0 nothing may reach the student, not even a gradient of zeros.
                z if weight else z.detach(),
                prior,
                scores,
                self.pair_network,
                temperature=self.temperature,
                bounds=BOUNDS[self.adjust],
            )
        self.observe(pairs.similar, scores)
        terms = {} if self.pair_network is None else {"dsa_prior": self.lambda2 * pairs.distance}
        return terms | {"dsa_adjust": self.weigh("dsa_adjust", weight, pairs.adjustment, output)}

    @torch.no_grad()
    def relate(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity T (R, N) and scores s (N,) from the prior's features `u` (N, P) of the global batch.

        The rows of T are those of this process's images, all N where there is one process.
        """
        images, broken = len(u), count_nonfinite(u)
        bank = u if self.queue is None else self.queue.bank(u)
        if self.queue is not None:
            self.queue.push(u)
        bank = bank - bank.mean(dim=0)
        most = most_neighbours(len(bank))
        k, eta = min(self.k, most), min(self.eta, most)
        self.diagnostics = {"dsa_k": u.new_full((), k), "dsa_prior_nonfinite": broken}
        counted = self.similarity in ("nested", "shared") and not self.needs_labels
        self.warn(images, counted)
        here = own_rows(images // world_size())
        near = None
        if counted or self.scores:
            near = gather_share(nearest(bank, max(k, eta), share_of(len(bank))), len(bank))
        order = send(torch.randperm(images), u.device) if self.shuffle else torch.arange(images, device=u.device)
        mine = order[here]
        if self.needs_labels:
            # The classes themselves, not the centred ones of the bank.
            prior = (u[mine] == u.T).to(u.dtype)
        elif self.similarity == "constant":
            prior = (mine[:, None] == torch.arange(images, device=u.device)).to(u.dtype)
        elif self.similarity == "exponential":
            prior = exponential_similarity(bank[mine], bank[:images], self.prior_temperature)
        else:
            assert near is not None
            # Symmetric: its columns are its rows.
            columns = None if world_size() == 1 and not self.shuffle else mine
            prior = similarity_of_neighbours(near[:images, :k], len(bank), columns)
            if self.similarity == "nested":
                inner = similarity_of_neighbours(near[:images, : max(1, k // 2)], len(bank), columns)
                prior = prior.add_(inner).mul_(0.5)
            prior = prior if columns is None else prior.T.contiguous()
        if self.shuffle:
            prior = prior[:, order]
        if self.scores:
            assert near is not None
            scores = gather_share(scores_of_neighbours(near[:, 1 : eta + 1], self.mu, here), images)
        else:
            scores = u.new_ones(images)
        return prior, scores.masked_fill_(broken > 0, torch.nan)

    def warn(self, images: int, counted: bool) -> None:
        """Warn at the first batch if too few samples, those of a full queue too, are looked for neighbours among."""
        if not self.warned:
            self.warned = True
            samples = images + (0 if self.queue is None else len(self.queue.features))
            warn_of_few_samples(
                samples, k=self.k if counted else None, eta=self.eta if self.scores else None, mu=self.mu
            )

    @torch.no_grad()
    def observe(self, similar: Tensor, scores: Tensor) -> None:
        """Keep what the log shows of the last batch: the spread of s, and the pairs (R, N) with M > 1/2."""
        images = len(scores)
        ranked = scores.sort().values
        # The cross-view block holds every ordered pair of images once; an image and itself is no pair.
        self.similar_pairs = similar
        self.sample_scores = scores if self.scores else None
        self.diagnostics |= {
            "dsa_score_mean": scores.mean(),
            **{f"dsa_score_q{q}": ranked[q * (images - 1) // 100] for q in (10, 50, 90)},
            # The log has the mean over the processes, and each has the pairs of its own images.
            "dsa_similar": world_size() * similar.sum() / max(1, images * (images - 1)),
        }

    def after_step(self, progress: float) -> None:
        self.prior.after_step()
