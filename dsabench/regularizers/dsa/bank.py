"""DSA over the whole training set: an image is drawn to what its mutual neighbours among all images were, as far as
their neighbourhoods hang together more than those of structureless features, and no closer than two views of one
image are to each other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from dsabench.checks import require, require_word
from dsabench.gather import gather_rows
from dsabench.registry import Scalar
from dsabench.regularizers.base import Regularizer, RegularizerFacts, gradient_norm
from dsabench.regularizers.dsa.transitivity import excess_transitivity
from dsabench.types import LabelledViews, MethodOutput, Views

# Images that the size of neighbourhoods and the trust are read off, once an epoch.
SAMPLE = 2048


class BankDSA(Regularizer):
    """Aggregation with trusted neighbours of the whole set."""

    smallest_batch = 2

    def __init__(
        self,
        encoder: object,
        feature_dim: int,
        embedding_dim: int,
        *,
        weight: float = 1.0,
        start: float = 0.3,
        reach: float = 0.5,
        k: int = 0,
        pulls: int = 16,
        trust: str = "linear",
        part: float = 0.5,
        mutual: bool = True,
        hinge: bool = True,
        balance: bool = True,
        num_images: int = 0,
    ) -> None:
        super().__init__(balance=balance)
        require(weight >= 0, "weight must be >= 0")
        require(0 <= start <= 1 and 0 <= reach <= 1, "start and reach must lie in [0, 1]")
        require_word("trust", trust, ("linear", "square", "none"))
        require(num_images > 1, "the bank needs num_images")
        self.weight, self.start, self.reach, self.fixed_k, self.pulls, self.part = weight, start, reach, k, pulls, part
        self.trusting, self.mutual, self.hinge = trust, mutual, hinge
        self.features: Tensor
        self.embedded: Tensor
        self.radius: Tensor
        self.seen: Tensor
        self.found: Tensor
        self.register_buffer("features", torch.zeros(num_images, feature_dim))
        self.register_buffer("embedded", torch.zeros(num_images, embedding_dim))
        self.register_buffer("radius", torch.full((num_images,), 2.0))
        self.register_buffer("seen", torch.zeros(num_images, dtype=torch.bool))
        # k, trust, images since they were read off.
        self.register_buffer("found", torch.tensor([0.0, 0.0, float(num_images)]))

    @classmethod
    def facts(cls, options: Mapping[str, Scalar]) -> RegularizerFacts:
        return RegularizerFacts("bank", "none")

    def forward(self, output: MethodOutput, views: Views | LabelledViews, progress: float) -> dict[str, Tensor]:
        with torch.autocast(output.z1.device.type, enabled=False):
            index = gather_rows(views.index)
            h1, h2 = (gather_rows(h.detach().float()) for h in (output.h1, output.h2))
            z1, z2 = (functional.normalize(gather_rows(z.float()), dim=1) for z in (output.z1, output.z2))
            self.look(index)
            near, pulled = self.relate(index, h1, h2)
            active = progress >= self.start
            weight = self.weight * self.confidence() if active else 0.0
            term, whole = self.pull(z1 if weight else z1.detach(), z2 if weight else z2.detach(), near, pulled)
            self.remember(index, h1, h2, z1.detach(), z2.detach())
            self.observe(index, near, pulled)
        return {"dsa_adjust": self.weighed(weight, term, whole, output)}

    def confidence(self) -> float:
        trust = float(self.found[1])
        return {"linear": trust, "square": trust**2, "none": 1.0}[self.trusting]

    def weighed(self, weight: float, term: Tensor, whole: Tensor, output: MethodOutput) -> Tensor:
        if not self.balance:
            return weight * term
        scale = torch.zeros_like(term)
        if weight:
            scale = gradient_norm(output.loss, output) / gradient_norm(whole, output)
            scale = torch.where(scale.isfinite(), scale, 0.0)
        self.diagnostics["dsa_adjust_scale"] = scale.detach()
        return weight * scale.detach() * term

    @torch.no_grad()
    def look(self, index: Tensor) -> None:
        """Once an epoch: how large neighbourhoods are, and how much they are trusted."""
        images = len(self.features)
        if self.found[2] >= images and bool(self.seen.all()):
            sample = torch.linspace(0, images - 1, min(images, SAMPLE), device=index.device).long()
            share, trust = excess_transitivity(self.features[sample], self.part)
            k = self.fixed_k or max(1, round(share * images))
            self.found.copy_(self.found.new_tensor([float(k), trust, 0.0]))
        self.found[2] += len(index)

    @torch.no_grad()
    def relate(self, index: Tensor, h1: Tensor, h2: Tensor) -> tuple[Tensor, Tensor]:
        """Neighbours (B, K) in the bank and which of them are mutual, (B, K) bool."""
        k = int(self.found[0])
        if not k:
            return index[:, None], torch.zeros(len(index), 1, dtype=torch.bool)
        mean = self.features.mean(dim=0)
        bank = functional.normalize(self.features - mean, dim=1)
        own = functional.normalize(functional.normalize(h1, dim=1) + functional.normalize(h2, dim=1), dim=1)
        cosine = functional.normalize(own - mean, dim=1) @ bank.T
        cosine[torch.arange(len(index), device=index.device), index] = -torch.inf
        top = cosine.topk(k, dim=1)
        self.radius[index] = top.values[:, -1]
        ranks = torch.linspace(0, k - 1, min(k, self.pulls), device=index.device).round().long()
        near, values = top.indices[:, ranks], top.values[:, ranks]
        pulled = values >= self.radius[near] if self.mutual else torch.ones_like(near, dtype=torch.bool)
        return near, pulled

    def pull(self, z1: Tensor, z2: Tensor, near: Tensor, pulled: Tensor) -> tuple[Tensor, Tensor]:
        """Mean over images and views of how far trusted neighbours are, beyond two views of one image and in all."""
        share = pulled.sum(dim=1).clamp(min=1)
        with torch.no_grad():
            reach = (z1 - z2).norm(dim=1).quantile(self.reach) if self.hinge else z1.new_zeros(())
        term = whole = z1.new_zeros(())
        targets = self.embedded[near]
        far = 0.0
        for z in (z1, z2):
            distance = (2 - 2 * (targets @ z[:, :, None])[:, :, 0]).clamp(min=1e-6).sqrt()
            excess = (distance - reach).clamp(min=0)
            term = term + 0.5 * ((excess * pulled).sum(dim=1) / share).mean()
            whole = whole + 0.5 * ((distance * pulled).sum(dim=1) / share).mean()
            far = far + 0.5 * ((excess > 0) & pulled).sum() / pulled.sum().clamp(min=1)
        self.diagnostics = {"dsa_reach": reach, "dsa_far": far}
        return term, whole

    @torch.no_grad()
    def remember(self, index: Tensor, h1: Tensor, h2: Tensor, z1: Tensor, z2: Tensor) -> None:
        own = functional.normalize(h1, dim=1) + functional.normalize(h2, dim=1)
        self.features[index] = functional.normalize(own, dim=1)
        self.embedded[index] = functional.normalize(z1 + z2, dim=1)
        self.seen[index] = True

    @torch.no_grad()
    def observe(self, index: Tensor, near: Tensor, pulled: Tensor) -> None:
        chosen = torch.where(pulled, near, -1)
        self.similar_pairs = (chosen[:, :, None] == index[None, None, :]).any(dim=1)
        self.similar_pairs.fill_diagonal_(False)
        self.diagnostics |= {
            "dsa_k": self.found[0].clone(),
            "dsa_trust": self.found[1].clone(),
            "dsa_pulled": pulled.sum(dim=1).float().mean(),
            "dsa_alone": (~pulled.any(dim=1)).float().mean(),
        }
