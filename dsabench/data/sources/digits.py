"""The handwritten digits that come with scikit-learn: the data set that needs no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import DatasetSpec, RawDataset, RawSplit
from dsabench.data.splits import held_out_count, stratified
from dsabench.errors import DataError

TEST_FRACTION = 0.2


def build(config: DataConfig, offline: bool) -> RawDataset:
    """1,797 images of 8x8 pixels from 0 to 16, scaled to 0..255; a stratified fifth, 359, is the test split."""
    pixels, labels = read()
    images = (pixels * 255 / 16).round().to(torch.uint8)
    held_out = stratified(labels, held_out_count(len(labels), 10, TEST_FRACTION), "digits test", leave=2)
    training = torch.ones(len(labels), dtype=torch.bool)
    training[held_out] = False
    everything = RawSplit(images, labels)
    return RawDataset(
        everything.take(training.nonzero().squeeze(1)),
        everything.take(held_out),
        tuple(str(digit) for digit in range(10)),
        test_from="a fixed fifth",
    )


def read() -> tuple[Tensor, Tensor]:
    """Pixels (1797, 1, 8, 8) float64 from 0 to 16 and classes (1797,) int64, as scikit-learn's load_digits has them.

    They are read beside scikit-learn: importing it takes longer than a small run takes to its first step.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("the digits come with scikit-learn, which is not installed; pip install scikit-learn")
    table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    rows = torch.from_numpy(table)
    return rows[:, :-1].reshape(-1, 1, 8, 8), rows[:, -1].long()


SPEC = DatasetSpec(
    name="digits",
    builder=build,
    channels=1,
    image_size=8,
    mean=(0.3054,),
    std=(0.3758,),
)
