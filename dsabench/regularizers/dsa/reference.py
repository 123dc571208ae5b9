"""The computation published with arXiv 2407.13541, to measure against: its faults repaired, or as found."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsabench.checks import require
from dsabench.gather import gather_rows, own_rows
from dsabench.registry import Scalar
from dsabench.regularizers.base import Regularizer, RegularizerFacts
from dsabench.regularizers.dsa.definitions import adjustment_loss, exponential_similarity
from dsabench.regularizers.dsa.neighbourhoods import (
    fewest_samples,
    most_neighbours,
    nearest,
    scores_of_neighbours,
    warn_of_few_samples,
)
from dsabench.regularizers.dsa.pairs import DifferenceNetwork
from dsabench.regularizers.dsa.priors import build_prior, count_nonfinite, prior_facts
from dsabench.types import LabelledViews, MethodOutput, Views

PairFunction = Callable[[Tensor, Tensor], Tensor]


class ReferenceDSA(Regularizer):
    """The published DSA: exponential similarity of a frozen prior's features of both views, M by a pair network on
    differences whose rows sum to one, scores from the anchors; all of it trains all of it.

    Terms: `dsa_adjust`, lambda1 times the adjustment loss, and `dsa_prior`, lambda2 times a quarter of the sum of
    ||M - T||_F over the four blocks. Options:

    - `prior`: `frozen:MODEL` as published (an ImageNet-supervised ResNet-18), or any other that does not follow the
      student; by default the untrained backbone, which needs no weights from outside and no labels.
    - `reference_faults`: as found, the cross-view blocks of M and T repeat those of one view, and the prior is in
      train mode, so that it depends on the batch.
    - `eta`, `mu`, `temperature`, `prior_temperature`, `lambda1`, `lambda2`: as published.
    - `balance`: whether lambda1 and lambda2 are relative to the method's gradient (`Regularizer`).

    Raises ValueError for an option out of its range; small batches, and features of the prior that are not finite, are
    treated as by `DSA`.
    """

    smallest_batch = fewest_samples(neighbours=1)

    def __init__(
        self,
        encoder: nn.Module,
        feature_dim: int,
        embedding_dim: int,
        *,
        lambda1: float = 1.0,
        lambda2: float = 0.01,
        prior: str = "random",
        reference_faults: bool = False,
        eta: int = 20,
        mu: float = 1.0,
        temperature: float = 0.5,
        prior_temperature: float = 0.5,
        balance: bool = False,
    ) -> None:
        super().__init__(balance=balance)
        require(lambda1 >= 0 and lambda2 >= 0, "lambda1 and lambda2 must be >= 0")
        require(eta >= 1, "eta must be >= 1")
        require(temperature > 0 and prior_temperature > 0, "temperature and prior_temperature must be > 0")
        require(prior not in ("ema", "self", "labels"), "the reference's prior is frozen: random or frozen:MODEL")
        self.lambda1, self.lambda2, self.eta, self.mu = lambda1, lambda2, eta, mu
        self.temperature, self.prior_temperature = temperature, prior_temperature
        self.faults = reference_faults
        self.warned = False
        self.prior = build_prior(prior, encoder, feature_dim, momentum=1.0)
        self.pair_network = DifferenceNetwork(embedding_dim)

    @classmethod
    def facts(cls, options: Mapping[str, Scalar]) -> RegularizerFacts:
        return prior_facts(str(options["prior"]))

    def forward(self, output: MethodOutput, views: Views | LabelledViews, progress: float) -> dict[str, Tensor]:
        # What a batch-norm prior keeps of the batch in train mode is part of the published fault.
        for module in self.prior.modules():
            module.training = self.faults
        u, u1, u2 = (
            self.prior(output, views._replace(anchor=images)).float()
            for images in (views.anchor, views.view1, views.view2)
        )
        with torch.autocast(output.z1.device.type, enabled=False):
            z1, z2 = (functional.normalize(gather_rows(z.float()), dim=1) for z in (output.z1, output.z2))
            if not self.lambda1 and not self.lambda2:
                # At weight 0 nothing may reach the student, not even a gradient of zeros.
                z1, z2 = z1.detach(), z2.detach()
            u, u1, u2 = (gather_rows(x) for x in (u, u1, u2))
            broken = count_nonfinite(torch.cat([u, u1, u2], dim=1))
            if not self.warned:
                self.warned = True
                warn_of_few_samples(len(u), eta=self.eta, mu=self.mu)
            near = nearest(u, min(self.eta, most_neighbours(len(u))))
            scores = scores_of_neighbours(near[:, 1:], self.mu).masked_fill(broken > 0, torch.nan).repeat(2)
            prior = self.blocks(lambda a, b: exponential_similarity(a, b, self.prior_temperature), u1, u2)
            similarity = self.blocks(self.pair_network, z1, z2)
            images = len(u)
            # Squares summed within each block, then the sum of the four norms.
            squares = (similarity - prior).square().reshape(2, images, 2, images).sum((1, 3))
            distance = squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt().sum() / 4
            adjustment = adjustment_loss(torch.cat([z1, z2]), similarity, scores, self.temperature)
        similar = (similarity[:images, images:].detach() > 0.5).fill_diagonal_(False)
        self.similar_pairs = similar[own_rows(len(views.anchor))]
        self.diagnostics = {
            "dsa_prior_nonfinite": broken,
            "dsa_score_mean": scores.mean(),
            "dsa_similar": similar.sum() / max(1, images * (images - 1)),
        }
        return {
            "dsa_prior": self.weigh("dsa_prior", self.lambda2, distance, output),
            "dsa_adjust": self.weigh("dsa_adjust", self.lambda1, adjustment, output),
        }

    def blocks(self, pairwise: PairFunction, x1: Tensor, x2: Tensor) -> Tensor:
        """The matrix (2N, 2N) of the view pairs 11, 12 over 21, 22; as found, the cross-view ones repeat 11 and 22."""
        first, second = pairwise(x1, x1), pairwise(x2, x2)
        across, back = (first, second) if self.faults else (pairwise(x1, x2), pairwise(x2, x1))
        return torch.cat([torch.cat([first, across], dim=1), torch.cat([back, second], dim=1)])
