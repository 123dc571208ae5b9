"""DSA, the Dynamic Semantic Adjuster (after arXiv 2407.13541), over the whole training set: features are spread, an
image can be drawn to what its neighbours among all images were, and in the end a map takes back what sets apart what is
alike (results/research.md)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dsabench.adjuster import Adjuster
from dsabench.checks import require, require_word
from dsabench.gather import gather_rows, own_rows, world_size
from dsabench.registry import Scalar
from dsabench.regularizers import BY, SPREAD, VIEWS, WEIGHT
from dsabench.regularizers.base import Regularizer, RegularizerFacts
from dsabench.regularizers.dsa.transitivity import above_chance, centred, excess_transitivity, local_transitivity
from dsabench.types import LabelledViews, MethodOutput, Views, widened

# So many images, evenly spread, tell how large neighbourhoods are and how far they are trusted.
SAMPLE = 2048
NEVER = 2.0
"""A cosine that nothing reaches: the radius of an image without a neighbourhood."""


class DSA(Regularizer):
    """Spreads the features of other images beside any SSL method, and adjusts features after training; with a `weight`
    it draws the embeddings of an image to those that its mutual neighbours among all training images had last. That is
    off, for it costs accuracy where neighbours are wrong. In a loop of your own:

        dsa = DSA(backbone, feature_dim, embedding_dim, num_images=len(images))
        ...
        view1, view2 = augment(images[index]), augment(images[index])
        ...
        terms = dsa(MethodOutput(loss, h1, h2, z1, z2), Views(images[index], view1, view2, index), step / steps)
        total = loss + sum(terms.values())
        ...
        seen = backbone(augment(images)), backbone(augment(images))  # after the last step, in eval mode
        features = dsa.adjuster.fit(backbone(images), seen)(backbone(images))

    Call: `forward(output, views, progress)` of a `MethodOutput`, whose loss comes of its features `h1`, `h2` (B, D) by
    way of its embeddings `z1`, `z2` (B, P), none of which need be normalised, the `Views` that they are of, with the
    `index` (B,) of their images among the `num_images`, and the share of training done, in [0, 1]. It returns the
    weighted terms, each a scalar to be added to the loss: with `spread` `dsa_spread`, the `frame_potential` of the
    features of other images, with `weight` or `push` `dsa_adjust`, the mean over images and views of the distance to
    mutual neighbours beyond the reach, and with `push` `dsa_separate`, the `uniformity` of the embeddings of the
    others. Nothing of it trains. What the log shows of the last batch is in `diagnostics`, and the pairs that were
    drawn together are in `similar_pairs` (R, B), None without a bank.

    With `weight` or `push` there is a bank. It keeps, of every image, the features and the embedding of the mean of its
    two views, as they were when it was last in a batch. Two images are mutual neighbours where each is among the k
    nearest of the other by the features. k is read off the bank when the term is switched on, as is how far each
    image's neighbours are trusted, in [0, 1] (`transitivity`), and they stay: what is pulled together hangs together,
    and would tell of the pull. Nothing is drawn before one epoch is over, nor to an image that was in no batch since.

    Construction: `encoder` is the backbone that is trained, which is not looked at; `feature_dim` is the width D of its
    features, `embedding_dim` the width P of the embeddings, `num_images` how many images there are, which the bank
    alone wants. Options:

    - `weight`: of drawing, >= 0, 0: there is none; with `balance`, as is the default, relative to the method's
      gradient, where one gradient of the term is that of all distances, without the limit of `reach`; `start`: the
      share of training before it is switched on, as `push` is.
    - `reach`: the quantile, in [0, 1], of the distances between two views of one image below which a neighbour is left
      where it is; 0: neighbours are drawn until they coincide.
    - `k`: neighbours of an image, 0: read off the bank, at the finest level whose excess is at least `part` of the
      most; `pulls`: how many of them, evenly spread over the ranks, are looked at in a step.
    - `spread`: the weight, from the first step on, of evening out the features, of which the objective sees no more
      than the projector lets through; with `balance` relative to the method's gradient there; 0: there is none.
    - `push`: the weight, as `weight` is one, of spreading over the sphere what is in a batch and no mutual neighbours;
      trust takes nothing of it; 0: there is none.
    - `adjust`: whether features go through a linear map in the end, the `adjuster` that is read off them: the objective
      does not see such a map, and distances do. What is measured during training is not adjusted.
    - `adjust_by`: what that map takes for alike: the `views` of an image, then its neighbours; or `neighbours` alone.
    - `trust`: what the pull on an image is multiplied by: `local`: how much its own neighbours hang together beyond
      chance; `linear`: the same of all images together; `none`: 1.

    Raises ValueError for an option out of its range. The spread costs O(B^2 D) operations a step and a pass backward
    through the projector; the bank N (D + P) numbers, and O(B N D) operations a step.
    """

    smallest_batch = 2

    def __init__(
        self,
        encoder: nn.Module,
        feature_dim: int,
        embedding_dim: int,
        *,
        weight: float = WEIGHT,
        start: float = 0.3,
        reach: float = 0.0,
        k: int = 0,
        part: float = 0.5,
        pulls: int = 16,
        trust: str = "local",
        push: float = 0.0,
        spread: float = SPREAD,
        adjust: bool = True,
        adjust_by: str = VIEWS,
        balance: bool = True,
        num_images: int = 0,
    ) -> None:
        super().__init__(balance=balance)
        banked = weight > 0 or push > 0
        require(
            num_images > 0 or not banked,
            "num_images, of the training split, must be given with weight or push: a bank keeps something of each",
        )
        require(weight >= 0 and push >= 0 and spread >= 0, "weight, push and spread must be >= 0")
        require(0 <= start <= 1 and 0 <= reach <= 1, "start and reach must lie in [0, 1]")
        require(0 < part <= 1, "part must lie in (0, 1]")
        require(k >= 0 and pulls >= 1, "k must be >= 0 and pulls >= 1")
        require(not banked or k < max(2, num_images), f"k must be less than the number of images, {num_images}")
        require_word("trust", trust, ("local", "linear", "none"))
        require_word("adjust_by", adjust_by, BY)
        self.weight, self.push, self.spread, self.start, self.reach = weight, push, spread, start, reach
        self.k, self.part, self.pulls, self.trust = k, part, pulls, trust
        if adjust:
            self.adjuster, self.adjust_by = Adjuster(feature_dim), adjust_by
        images = max(2, num_images) if banked else 0
        self.features: Tensor
        self.embedded: Tensor
        self.radius: Tensor
        self.trusted: Tensor
        self.found: Tensor
        self.register_buffer("features", torch.zeros(images, feature_dim))
        self.register_buffer("embedded", torch.zeros(images, embedding_dim))
        # The cosine of an image's k-th neighbour when it was last in a batch.
        self.register_buffer("radius", torch.full((images,), NEVER))
        self.register_buffer("trusted", torch.zeros(images))
        # k, the excess that it was read off, and how many images were seen, up to all of them.
        self.register_buffer("found", torch.zeros(3, dtype=torch.float64))
        # k, excess and images seen as the host knows them, so that no step waits for the device.
        self.known: list[float] | None = None

    @classmethod
    def facts(cls, options: Mapping[str, Scalar]) -> RegularizerFacts:
        return RegularizerFacts("bank" if options["weight"] or options["push"] else "none", "none")

    def forward(self, output: MethodOutput, views: Views | LabelledViews, progress: float) -> dict[str, Tensor]:
        with torch.autocast(output.z1.device.type, enabled=False):
            terms, together = self.drawn(output, views, progress) if len(self.features) else ({}, None)
            if self.spread:
                features = output.h1, output.h2
                stacked = torch.stack([gather_rows(widened(h)) for h in features])
                if together is None:
                    together = torch.eye(stacked.shape[1], dtype=torch.bool, device=stacked.device)
                even = frame_potential(stacked, together)
                terms["dsa_spread"] = self.weigh("dsa_spread", self.spread, even, output, at=features)
                self.diagnostics["dsa_dimensions"] = (-even.detach()).exp()
        return terms

    def drawn(
        self, output: MethodOutput, views: Views | LabelledViews, progress: float
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The terms that want the bank, and which images (B, B) bool of the batch are mutual neighbours or the same."""
        require(len(views.index) == len(output.z1), "the views have no index of their images in the training split")
        index = gather_rows(views.index)
        h1, h2 = (normalize(gather_rows(widened(h.detach())), dim=1) for h in (output.h1, output.h2))
        z1, z2 = (normalize(gather_rows(widened(z)), dim=1) for z in (output.z1, output.z2))
        own = normalize(h1 + h2, dim=1)
        k = self.read_off(len(index), progress >= self.start)
        near, mutual, together = self.neighbours(index, own, k)
        pull, push = (self.weight, self.push) if k else (0.0, 0.0)
        # At weight 0 nothing may reach the student, not even a gradient of zeros.
        beyond, whole = self.distances(
            z1 if pull else z1.detach(), z2 if pull else z2.detach(), near, mutual, self.trusted[index]
        )
        with torch.no_grad():
            self.features[index] = own.to(self.features.dtype)
            self.embedded[index] = normalize(z1 + z2, dim=1).to(self.embedded.dtype)
        self.observe(index, near, mutual)
        # By the whole distances, so that the few who are out of reach, or trusted, do not get the pull of all.
        terms = {"dsa_adjust": self.weigh("dsa_adjust", pull, beyond, output, by=whole)}
        if self.push:
            apart = uniformity(torch.stack([z1, z2] if push else [z1.detach(), z2.detach()]), together)
            terms["dsa_separate"] = self.weigh("dsa_separate", push, apart, output)
        return terms, together

    def read_off(self, batch: int, due: bool) -> int:
        """k; 0 until it is due and every image was seen."""
        if self.known is None:
            self.known = self.found.tolist()
        k, excess, seen = self.known
        images = len(self.features)
        if due and not k and seen >= images:
            sample = torch.linspace(0, images - 1, min(images, SAMPLE), device=self.features.device).long()
            groups = excess_transitivity(self.features[sample], self.part)
            k, excess = float(self.k or max(1, round(groups.share * images))), groups.excess
            if self.trust == "local":
                found = local_transitivity(centred(self.features), sample, round(groups.share * len(sample)))
                self.trusted.copy_(above_chance(groups.chance, found))
            else:
                self.trusted.fill_(excess if self.trust == "linear" else 1.0)
        known = [k, excess, min(seen + batch, images)]
        if known != self.known:
            self.known = known
            for place, value in enumerate(known):
                self.found[place].fill_(value)
        return int(k)

    @torch.no_grad()
    def neighbours(self, index: Tensor, own: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Some of the k nearest in the bank, (B, K), which of them are mutual, (B, K) bool, and which images of the
        batch are mutual neighbours or the same, (B, B) bool; for k = 0 itself, False, and the same alone."""
        if not k:
            alone = torch.zeros(len(index), 1, dtype=torch.bool, device=index.device)
            return index[:, None], alone, torch.eye(len(index), dtype=torch.bool, device=index.device)
        mean = self.features.mean(dim=0)
        unit = normalize(own - mean, dim=1)
        cosine = unit @ normalize(self.features - mean, dim=1).T
        cosine.scatter_(1, index[:, None], -torch.inf)
        top = cosine.topk(k, dim=1)
        radius = top.values[:, -1]
        self.radius[index] = radius
        ranks = torch.linspace(0, k - 1, min(k, self.pulls), device=index.device).round().long()
        near = top.indices[:, ranks]
        together = ((unit @ unit.T) >= torch.maximum(radius[:, None], radius)).fill_diagonal_(True)
        return near, top.values[:, ranks] >= self.radius[near], together

    def distances(self, z1: Tensor, z2: Tensor, near: Tensor, mutual: Tensor, trusted: Tensor) -> tuple[Tensor, Tensor]:
        """Mean over images and views of the distances to mutual neighbours, each (): beyond the reach, times what each
        image (B,) is trusted; and whole."""
        reach = (z1 - z2).norm(dim=1).detach().quantile(self.reach) if self.reach else z1.new_zeros(())
        share = mutual / mutual.sum(dim=1, keepdim=True).clamp(min=1)
        targets = self.embedded[near].to(z1.dtype)
        parts = []
        for z in (z1, z2):
            squared = 2 - 2 * (targets @ z[:, :, None]).squeeze(2)
            # The root has no gradient at 0.
            distance = squared.clamp(min=1e-6).sqrt()
            beyond = (distance - reach).clamp(min=0)
            means = (beyond * share).sum(dim=1), (distance * share).sum(dim=1)
            parts.append(torch.stack([(trusted * means[0]).mean(), means[1].mean()]))
        self.diagnostics = {"dsa_reach": reach}
        beyond, whole = torch.stack(parts).mean(dim=0)
        return beyond, whole

    @torch.no_grad()
    def observe(self, index: Tensor, near: Tensor, mutual: Tensor) -> None:
        """Keep what the log shows: k, trust, and of this process's images the pairs (R, B) that were drawn together."""
        here = own_rows(len(index) // world_size())
        chosen = torch.where(mutual, near, -1)[here]
        self.similar_pairs = (chosen[:, :, None] == index).any(dim=1)
        self.diagnostics |= {
            "dsa_k": self.found[0].float(),
            "dsa_excess": self.found[1].float(),
            "dsa_trust": self.trusted.mean(),
            "dsa_pulled": mutual.sum(dim=1).float().mean(),
        }


def uniformity(views: Tensor, together: Tensor) -> Tensor:
    """log of the mean of exp(-2 d^2) (), d the distances of unit views (2, B, P) of images not `together` (B, B).

    Of Wang and Isola 2020, arXiv 2005.10242, who take every pair.
    """
    z = views.flatten(0, 1)
    return mean_of_others((4 * (z @ z.T) - 4).exp(), together).log()


def frame_potential(views: Tensor, together: Tensor) -> Tensor:
    """log of the mean squared cosine (), about their mean, of features (2, B, D) of images not `together` (B, B).

    Of Benedetto and Fickus 2003, Finite normalized tight frames. Least where all principal axes have the same variance:
    exp of minus it is then their number, and else about the participation ratio of the variances. Features that
    coincide have no gradient.
    """
    unit = normalize(views, dim=2).flatten(0, 1)
    unit = normalize(unit - unit.mean(dim=0), dim=1)
    return mean_of_others((unit @ unit.T).square(), together).log()


def mean_of_others(values: Tensor, together: Tensor) -> Tensor:
    """The mean () of values (2B, 2B) of two views of images not `together` (B, B); next to nothing if all are."""
    others = ~together.repeat(2, 2)
    return ((values * others).sum() / others.sum().clamp(min=1)).clamp(min=1e-12)
