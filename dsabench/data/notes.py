"""What was read, in words: the lines that are said before a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dsabench.data.dataset import RawDataset, Split
from dsabench.data.sources.sizes import Sizes

MOST_IGNORED = 3
"""So many of the files that were left out are named."""

UNBALANCED = 2.0
"""Classes are called unbalanced where the largest has so many times the images of the smallest."""


def reading_notes(
    raw: RawDataset, splits: Mapping[str, Split], sizes: Sizes, origins: Mapping[str, str]
) -> tuple[str, ...]:
    """One line of counts, where each split came from and the size; more for what may surprise."""
    counts = {name: f"{len(split):,} {name}" for name, split in splits.items()}
    parts = [f"{len(raw.classes)} classes"] + [
        counts[name] + (f" ({origins[name]})" if origins.get(name) else "") for name in ("train", "val", "test")
    ]
    if raw.ignored:
        parts.append(_ignored(raw.ignored, raw.ignored_names))
    notes = [f"{', '.join(parts)}; {sizes.chosen} px", *raw.cautions, sizes.note, balance_note(splits["train"].labels)]
    return tuple(note for note in notes if note)


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
