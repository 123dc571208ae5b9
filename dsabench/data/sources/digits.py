"""The handwritten digits that come with scikit-learn: the data set that needs no download."""

from __future__ import annotations

from pathlib import Path

import torch

from dsabench.data.dataset import DatasetSpec, RawDataset, RawSplit
from dsabench.data.splits import held_out_count, stratified

TEST_FRACTION = 0.2


def build(data_dir: Path | None, offline: bool) -> RawDataset:
    """1,797 images of 8x8 pixels from 0 to 16, scaled to 0..255; a stratified fifth, 359, is the test split."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images * 255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(bunch.target).long()
    held_out = stratified(labels, held_out_count(len(labels), 10, TEST_FRACTION), "digits test", leave=2)
    training = torch.ones(len(labels), dtype=torch.bool)
    training[held_out] = False
    everything = RawSplit(images, labels)
    return RawDataset(
        everything.take(training.nonzero().squeeze(1)),
        everything.take(held_out),
        tuple(str(digit) for digit in range(10)),
    )


SPEC = DatasetSpec(
    name="digits",
    title="scikit-learn digits",
    builder=build,
    channels=1,
    image_size=8,
    mean=(0.3054,),
    std=(0.3758,),
)
