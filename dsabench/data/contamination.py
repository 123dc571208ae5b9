"""Outliers put into the pretraining images, to see what they do: noise, copies, images of another data set.

Which images are replaced is fixed by the position alone, the same for every run and seed, and those of a smaller share
are among those of a larger one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dsabench import rng
from dsabench.data.data_config import Contamination
from dsabench.data.dataset import Contaminated, ImageSource, Picture, Split
from dsabench.data.loader import with_channels
from dsabench.data.reading import pictures
from dsabench.errors import UsageError

KEPT, NOISE, COPY, FOREIGN = range(4)


def contaminated(train: Split, shares: Contamination, foreign: Split | None, shape: tuple[int, int]) -> Contaminated:
    """The training images with these shares of them replaced; labels stay, and copies bring their own.

    `foreign` images are those of another training split, at most once each; `shape` is (channels, size). Raises
    UsageError where there are too few of them.
    """
    n = len(train)
    order = torch.randperm(n, generator=rng.generator("contaminate", "order"))
    counts = [round(share * n) for share in (shares.noise, shares.duplicates, shares.foreign)]
    kinds, sources = torch.full((n,), KEPT), torch.arange(n)
    noisy, copied, strange, kept = torch.split(order, [*counts, n - sum(counts)])
    kinds[noisy], kinds[copied], kinds[strange] = NOISE, COPY, FOREIGN
    draws = rng.generator("contaminate", "copies")
    sources[copied] = kept.sort().values[torch.randint(len(kept), (len(copied),), generator=draws)]
    if foreign is not None:
        if len(foreign) < len(strange):
            raise UsageError(f"{shares.source} has {len(foreign)} training images, {len(strange)} are to be put in")
        drawn = torch.randperm(len(foreign), generator=rng.generator("contaminate", "foreign"))
        sources[strange] = drawn[: len(strange)]
    images = ContaminatedImages(train.images, kinds, sources, foreign.images if foreign else None, *shape)
    labels = train.labels.clone()
    labels[copied] = train.labels[sources[copied]]
    if isinstance(train.images, Tensor):
        resident, replaced = train.images.clone(), (kinds != KEPT).nonzero().squeeze(1)
        if len(replaced):
            resident[replaced] = images.read(replaced)
        return Contaminated(Split(labels, resident), kinds != KEPT)
    return Contaminated(Split(labels, images), kinds != KEPT)


@dataclass(frozen=True)
class ContaminatedImages:
    """Images of which some are replaced when they are read: `kinds` (N,) says how, `sources` (N,) by which image."""

    images: Tensor | ImageSource
    kinds: Tensor
    sources: Tensor
    foreign: Tensor | ImageSource | None
    channels: int
    size: int

    def __len__(self) -> int:
        return len(self.kinds)

    def read(self, index: Tensor) -> Tensor:
        """The images at `index` (B,) as uint8 (B, C, H, W)."""
        return torch.stack([picture.square for picture in self.pictures(index)])

    def pictures(self, index: Tensor) -> Iterator[Picture]:
        """The same images one after another, each also as its file has it."""
        for position in index.tolist():
            kind, source = int(self.kinds[position]), self.sources[position : position + 1]
            if kind == NOISE:
                draws = rng.generator("contaminate", "noise", position)
                shape = (self.channels, self.size, self.size)
                noise = torch.randint(256, shape, generator=draws, dtype=torch.uint8)
                yield Picture(noise, noise)
            elif kind == FOREIGN:
                assert self.foreign is not None
                (found,) = pictures(self.foreign, source)
                # Luminance is a fraction.
                wide = (with_channels(image[None], self.channels)[0] for image in found)
                yield Picture(*(image.float().round().to(torch.uint8) for image in wide))
            else:
                (found,) = pictures(self.images, source)
                yield found

    def listing(self) -> Iterator[tuple[str, int]]:
        """Nothing: what is read here is no data set of its own."""
        return iter(())
