"""What was read, in words: the lines that are said before a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dsabench.data.dataset import RawDataset, Split
from dsabench.data.sources.decoding import SIXTEEN_BITS, Deep
from dsabench.data.sources.sizes import Sizes

MOST_IGNORED = 3
"""So many of the files that were left out are named."""

DARK = 0.3
"""Of 16 bits, a largest value below this share of them is doubted: 14 bits reach a quarter."""

LOOKED_AT = 64
"""So many images are looked at for colours."""

GREY = 32
"""Channels of a grey pixel differ by no more than this of 255, a JPEG's rounding of colours included."""

UNBALANCED = 2.0
"""Classes are called unbalanced where the largest has so many times the images of the smallest."""


def reading_notes(
    raw: RawDataset, splits: Mapping[str, Split], sizes: Sizes, origins: Mapping[str, str], deep: Deep | None
) -> tuple[str, ...]:
    """One line of counts, where each split came from and the size; more for what may surprise.

    `deep` are the images of 16 bits, None where none were looked at.
    """
    counts = {name: f"{len(split):,} {name}" for name, split in splits.items()}
    parts = [f"{len(raw.classes)} classes"] + [
        counts[name] + (f" ({origins[name]})" if origins.get(name) else "") for name in ("train", "val", "test")
    ]
    if raw.ignored:
        parts.append(_ignored(raw.ignored, raw.ignored_names))
    notes = [f"{', '.join(parts)}; {sizes.chosen} px", *raw.cautions, sizes.note, balance_note(splits["train"].labels)]
    return tuple(note for note in (*notes, dark_note(deep, sum(map(len, splits.values())))) if note)


def dark_note(deep: Deep | None, images: int) -> str:
    """A warning of those of so many `images` whose values fill a small part of 16 bits; empty where they do not."""
    if deep is None or deep.largest >= DARK * SIXTEEN_BITS:
        return ""
    return (
        f"warning: the largest value of the 16-bit images is {deep.largest:,} of {SIXTEEN_BITS:,}, and that whole "
        f"range is brought to 8 bits: {deep.count:,} of {images:,} images (first {deep.first}) come out nearly black; "
        "rescale them"
    )


def in_colour(split: Split) -> bool:
    """Whether the channels of some of a split's first `LOOKED_AT` images differ by more than a compression leaves."""
    pixels = split.pixels(torch.arange(min(LOOKED_AT, len(split)))).short()
    return pixels.shape[1] > 1 and int((pixels.amax(1) - pixels.amin(1)).max()) > GREY


def _ignored(count: int, names: Sequence[str]) -> str:
    words = f"{count:,} {'file' if count == 1 else 'files'} ignored"
    first = names[:MOST_IGNORED]
    if not first:
        return words
    return f"{words} ({', '.join(first)}{f' and {count - len(first):,} more' if count > len(first) else ''})"


def balance_note(labels: Tensor) -> str:
    """How unbalanced the classes of `labels` (N,) are; empty where they are not."""
    sizes = torch.bincount(labels)
    least, most = int(sizes.min()), int(sizes.max())
    if most < UNBALANCED * least:
        return ""
    share = most / int(sizes.sum())
    return f"classes are unbalanced: {least:,} to {most:,} training images each; always naming the largest: {share:.1%}"
