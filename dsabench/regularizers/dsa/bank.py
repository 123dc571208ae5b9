"""DSA over the whole training set: an image is drawn to what its neighbours among all images were, as far as two views
of it agree on who they are, and no closer than two views of one image are to each other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from dsabench.checks import require
from dsabench.gather import gather_rows
from dsabench.registry import Scalar
from dsabench.regularizers.base import Regularizer, RegularizerFacts
from dsabench.types import LabelledViews, MethodOutput, Views

# How many neighbours may be tried: doubling, so that each says how far the views agree a scale further out.
LADDER = (1, 2, 4, 8, 16, 32, 64)


class BankDSA(Regularizer):
    """Aggregation with trusted neighbours of the whole set."""

    smallest_batch = 2
    LEDGER = 0.98

    def __init__(
        self,
        encoder: object,
        feature_dim: int,
        embedding_dim: int,
        *,
        weight: float = 1.0,
        start: float = 0.3,
        trust: float = 0.5,
        reach: float = 0.5,
        most: int = 64,
        mutual: bool = True,
        hinge: bool = True,
        balance: bool = True,
        num_images: int = 0,
    ) -> None:
        super().__init__(balance=balance)
        require(weight >= 0, "weight must be >= 0")
        require(0 <= start <= 1 and 0 < trust <= 1 and 0 <= reach <= 1, "start, trust and reach must lie in [0, 1]")
        require(num_images > 1, "the bank needs num_images")
        self.weight, self.start, self.trust, self.reach = weight, start, trust, reach
        self.mutual, self.hinge = mutual, hinge
        self.ladder = [k for k in LADDER if k <= min(most, max(1, (num_images - 1) // 4))]
        self.most = self.ladder[-1]
        self.features: Tensor
        self.embedded: Tensor
        self.near: Tensor
        self.seen: Tensor
        self.agreement: Tensor
        self.register_buffer("features", torch.zeros(num_images, feature_dim))
        self.register_buffer("embedded", torch.zeros(num_images, embedding_dim))
        self.register_buffer("near", torch.full((num_images, self.most), -1, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(num_images, dtype=torch.bool))
        self.register_buffer("agreement", torch.zeros(len(self.ladder)))

    @classmethod
    def facts(cls, options: Mapping[str, Scalar]) -> RegularizerFacts:
        return RegularizerFacts("bank", "none")

    def forward(self, output: MethodOutput, views: Views | LabelledViews, progress: float) -> dict[str, Tensor]:
        with torch.autocast(output.z1.device.type, enabled=False):
            index = gather_rows(views.index)
            h1, h2 = (gather_rows(h.detach().float()) for h in (output.h1, output.h2))
            z1, z2 = (functional.normalize(gather_rows(z.float()), dim=1) for z in (output.z1, output.z2))
            near, pulled = self.relate(index, h1, h2)
            weight = self.weight if progress >= self.start else 0.0
            term = self.pull(z1 if weight else z1.detach(), z2 if weight else z2.detach(), near, pulled)
            self.remember(index, h1, h2, z1.detach(), z2.detach(), near)
            self.observe(index, near, pulled)
        return {"dsa_adjust": self.weigh("dsa_adjust", weight, term, output)}

    @torch.no_grad()
    def relate(self, index: Tensor, h1: Tensor, h2: Tensor) -> tuple[Tensor, Tensor]:
        """Neighbours (B, K) in the bank and which of them are trusted, (B, K) bool."""
        if not bool(self.seen.all()):
            none = torch.zeros(len(index), self.most, dtype=torch.bool)
            self.diagnostics = {"dsa_k": none.sum().float()}
            return self.near[index].clamp(min=0), none
        mean = self.features.mean(dim=0)
        bank = functional.normalize(self.features - mean, dim=1)
        u1, u2 = (functional.normalize(functional.normalize(h, dim=1) - mean, dim=1) for h in (h1, h2))
        own = torch.arange(len(index), device=index.device), index

        def ranked(u: Tensor) -> Tensor:
            cosine = u @ bank.T
            cosine[own] = -torch.inf
            return cosine.topk(self.most, dim=1).indices

        near1, near2, near = ranked(u1), ranked(u2), ranked(u1 + u2)
        shares = []
        for k in self.ladder:
            hit = (near1[:, :k, None] == near2[:, None, :k]).any(dim=2).float().mean()
            chance = k / (len(bank) - 1)
            shares.append((hit - chance) / (1 - chance))
        now = torch.stack(shares)
        self.agreement.copy_(torch.where(self.agreement.any(), torch.lerp(now, self.agreement, self.LEDGER), now))
        trusted = [k for k, share in zip(self.ladder, self.agreement.tolist(), strict=True) if share >= self.trust]
        k = max(trusted, default=0)
        pulled = torch.zeros_like(near, dtype=torch.bool)
        pulled[:, :k] = True
        if self.mutual and k:
            pulled &= (self.near[near][:, :, :k] == index[:, None, None]).any(dim=2)
        self.diagnostics = {"dsa_k": now.new_tensor(float(k))}
        for k, share in zip(self.ladder, self.agreement, strict=True):
            self.diagnostics[f"dsa_agree{k}"] = share
        return near, pulled

    def pull(self, z1: Tensor, z2: Tensor, near: Tensor, pulled: Tensor) -> Tensor:
        """The mean over images and views of how much farther trusted neighbours are than two views of one image."""
        share = pulled.sum(dim=1).clamp(min=1)
        with torch.no_grad():
            reach = (z1 - z2).norm(dim=1).quantile(self.reach) if self.hinge else z1.new_zeros(())
        total = z1.new_zeros(())
        targets = self.embedded[near]
        for z in (z1, z2):
            squared = (2 - 2 * (targets @ z[:, :, None])[:, :, 0]).clamp(min=1e-6)
            excess = (squared.sqrt() - reach).clamp(min=0)
            total = total + 0.5 * ((excess * pulled).sum(dim=1) / share).mean()
        return total

    @torch.no_grad()
    def remember(self, index: Tensor, h1: Tensor, h2: Tensor, z1: Tensor, z2: Tensor, near: Tensor) -> None:
        self.features[index] = functional.normalize(functional.normalize(h1, dim=1) + functional.normalize(h2, dim=1), dim=1)
        self.embedded[index] = functional.normalize(z1 + z2, dim=1)
        if bool(self.seen.all()):
            self.near[index] = near
        self.seen[index] = True

    @torch.no_grad()
    def observe(self, index: Tensor, near: Tensor, pulled: Tensor) -> None:
        chosen = torch.where(pulled, near, -1)
        self.similar_pairs = (chosen[:, :, None] == index[None, None, :]).any(dim=1)
        self.similar_pairs.fill_diagonal_(False)
        self.diagnostics |= {
            "dsa_pulled": pulled.sum(dim=1).float().mean(),
            "dsa_alone": (~pulled.any(dim=1)).float().mean(),
        }
