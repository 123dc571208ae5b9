"""Where a regularizer takes the similarity of images from: priors by name.

A prior maps a batch to features u (B, P) that no gradient reaches. Names: `ema` (a teacher that follows the run's own
backbone), `self` (the student's features of this very step: no further forward pass), `pixels` (the images themselves:
what is similar without a network), `random` (the backbone as it was initialised), `frozen:MODEL` (a timm model with its
published weights, or with those of a local file given as `frozen:MODEL@FILE`), and `labels` (the classes: an oracle).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsabench.checks import require
from dsabench.errors import RunFailed
from dsabench.gather import gather_rows, own_rows, world_size
from dsabench.regularizers.base import RegularizerFacts
from dsabench.teachers import make_teacher, update_teacher
from dsabench.types import LabelledViews, MethodOutput, Views

# Published backbones expect images of about this side at the least; smaller ones are enlarged.
SMALLEST_SIDE = 64


def prior_facts(name: str) -> RegularizerFacts:
    """The facts of a prior by name; raises ValueError for one that does not exist."""
    if name in ("ema", "self", "pixels", "random"):
        return RegularizerFacts(name, "none")
    if name == "labels":
        return RegularizerFacts(name, "training")
    if name.startswith("frozen:") and len(name) > len("frozen:"):
        return RegularizerFacts(name, "prior")
    raise ValueError(f"prior must be ema, self, pixels, random, labels or frozen:MODEL, got {name!r}")


def build_prior(
    name: str, encoder: nn.Module, feature_dim: int, momentum: float, *, every: int = 1, num_images: int = 0
) -> Prior:
    """The prior called `name` for a student `encoder`; raises ValueError for an unknown one or missing weights.

    Above 1, `every` says how seldom the `ema` teacher looks at an image of the `num_images` in the training split.
    """
    prior_facts(name)
    if name == "ema":
        return EmaPrior(encoder, feature_dim, momentum, every=every, num_images=num_images)
    if name == "self":
        return SelfPrior(feature_dim)
    if name == "pixels":
        return PixelPrior()
    if name == "random":
        return FrozenPrior(make_teacher(encoder), feature_dim)
    if name == "labels":
        return LabelPrior(1)
    model = published_model(name.removeprefix("frozen:"))
    return FrozenPrior(model, int(model.num_features), channels=3)  # type: ignore[arg-type]


def count_nonfinite(u: Tensor) -> Tensor:
    """How many samples, (), of a prior's features `u` (N, P) hold NaN or infinity.

    Centred with one of them all are NaN, have the same neighbours and would be similar to each other, T = 1. Raises
    RunFailed for one on a CPU. To ask another device is to wait for it: there a caller makes its terms NaN instead.
    """
    count = (~u.isfinite()).any(dim=1).sum()
    if u.device.type == "cpu" and count:
        raise RunFailed(
            f"the features of DSA's prior hold NaN or infinity for {int(count)} of {len(u)} images, whose "
            "neighbours nobody knows; the network has diverged (try a smaller lr), or the images are not finite"
        )
    return count


class Prior(nn.Module):
    """`forward(output, views) -> u` (B, `feature_dim`), in eval mode always; `after_step()` follows the student."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim

    def train(self, mode: bool = True) -> Prior:
        """Stay in eval mode: a prior must not depend on what else is in the batch."""
        super().train(False)
        return self

    def after_step(self) -> None:
        """Called after each optimiser step."""


class EmaPrior(Prior):
    """An exponential moving average of the student, on the un-augmented anchors.

    With `every` k above 1 the teacher looks at 1/k of each batch, those whose features are oldest, and the others keep
    the features that it gave them the last time, at half precision. An image that it has not seen yet, in the first k
    epochs, has the mean of the student's features of both views.
    """

    # The age, in visits, of features that are not there yet.
    NEVER = 2**15 - 1

    def __init__(
        self, encoder: nn.Module, feature_dim: int, momentum: float, *, every: int = 1, num_images: int = 0
    ) -> None:
        super().__init__(feature_dim)
        # In a tuple, so that the student's parameters do not become the prior's own.
        self.student = (encoder,)
        self.teacher = make_teacher(encoder).eval()
        self.momentum, self.every = momentum, every
        if every > 1:
            self.stored: Tensor
            self.age: Tensor
            self.register_buffer("stored", torch.zeros(num_images, feature_dim, dtype=torch.float16))
            self.register_buffer("age", torch.full((num_images,), self.NEVER, dtype=torch.int16))

    @torch.no_grad()
    def forward(self, output: MethodOutput, views: Views | LabelledViews) -> Tensor:
        if self.every == 1:
            fresh: Tensor = self.teacher(views.anchor)
            return fresh
        require(len(views.index) == len(views.anchor), "ema_every above 1 needs views with the index of each image")
        # Of the global batch, so that every process keeps the same.
        index, here = gather_rows(views.index), own_rows(len(views.index))
        age = self.age[index]
        u = torch.where(
            (age[here] == self.NEVER)[:, None], 0.5 * (output.h1 + output.h2), self.stored[views.index].float()
        )
        # A share of a fixed size, so that nothing waits for the device to say how many there are: with several
        # processes something does, for the oldest need not be spread evenly.
        oldest = age.argsort(descending=True, stable=True)[: -(-len(age) // self.every)]
        own = oldest
        if world_size() > 1:
            own = oldest[(oldest >= here.start) & (oldest < here.stop)] - here.start
        u[own] = self.teacher(views.anchor[own]).float()
        age = torch.where(age == self.NEVER, age, age.add(1).clamp_(max=self.NEVER - 1))
        age[oldest] = 1
        self.age[index] = age
        largest = torch.finfo(torch.float16).max
        self.stored[index[oldest]] = gather_rows(u)[oldest].clamp(-largest, largest).half()
        return u

    def after_step(self) -> None:
        update_teacher(self.student[0], self.teacher, self.momentum)


class SelfPrior(Prior):
    """The mean of the normalised features of both views, detached."""

    @torch.no_grad()
    def forward(self, output: MethodOutput, views: Views | LabelledViews) -> Tensor:
        return 0.5 * (functional.normalize(output.h1, dim=1) + functional.normalize(output.h2, dim=1))


class PixelPrior(Prior):
    """The un-augmented anchors, flattened: (B, C * H * W), which nobody knows before the first batch."""

    def __init__(self) -> None:
        super().__init__(feature_dim=0)

    @torch.no_grad()
    def forward(self, output: MethodOutput, views: Views | LabelledViews) -> Tensor:
        return views.anchor.flatten(1)


class FrozenPrior(Prior):
    """A network that never changes, on the anchors; grey images are repeated to `channels` where it wants colour."""

    def __init__(self, network: nn.Module, feature_dim: int, channels: int | None = None) -> None:
        super().__init__(feature_dim)
        self.network = network.requires_grad_(False).eval()
        self.channels = channels

    @torch.no_grad()
    def forward(self, output: MethodOutput, views: Views | LabelledViews) -> Tensor:
        images = views.anchor
        if self.channels is not None:
            if images.shape[1] == 1:
                images = images.expand(-1, self.channels, -1, -1)
            if images.shape[-1] < SMALLEST_SIDE:
                images = functional.interpolate(images, size=SMALLEST_SIDE, mode="bilinear", antialias=True)
        u: Tensor = self.network(images)
        return u


class LabelPrior(Prior):
    """The classes themselves, (B, 1)."""

    @torch.no_grad()
    def forward(self, output: MethodOutput, views: Views | LabelledViews) -> Tensor:
        if not isinstance(views, LabelledViews):
            raise TypeError("the labels prior needs labelled views")
        return views.labels[:, None].float()


def published_model(text: str) -> nn.Module:
    """A timm model by `MODEL` or `MODEL@FILE`, without its classifier; raises ValueError where weights are missing."""
    import timm

    name, _, file = text.partition("@")
    if name.split(".")[0] not in timm.list_models():
        raise ValueError(f"timm has no model {name!r} for a frozen prior")
    if file and not Path(file).is_file():
        raise ValueError(f"there is no file {file} with weights for the prior {name}")
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=True, num_classes=0, pretrained_cfg_overlay={"file": file} if file else None
        )
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"the weights of the prior {name} are not at hand and could not be loaded ({type(error).__name__}); "
            f"give a local file, as in prior=frozen:{name}@weights.safetensors, or choose prior=ema"
        ) from error
    return model
