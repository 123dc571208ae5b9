"""What was read, in words: the lines that are said before a training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dsabench.data.dataset import RawDataset, Split
from dsabench.data.sources.sizes import Sizes

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
        parts.append(f"{raw.ignored:,} {'file' if raw.ignored == 1 else 'files'} ignored")
    notes = [f"{', '.join(parts)}; {sizes.chosen} px", sizes.note, balance_note(splits["train"].labels)]
    return tuple(note for note in notes if note)


def balance_note(labels: Tensor) -> str:
    """How unbalanced the classes of `labels` (N,) are; empty where they are not."""
    sizes = torch.bincount(labels)
    least, most = int(sizes.min()), int(sizes.max())
    if most < UNBALANCED * least:
        return ""
    share = most / int(sizes.sum())
    return f"classes are unbalanced: {least:,} to {most:,} training images each; always naming the largest: {share:.1%}"
