"""The data sets by name; reading this list imports neither torch nor a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dsabench.registry import Entry

if TYPE_CHECKING:
    from dsabench.data.dataset import Dataset

_SOURCES = "dsabench.data.sources."

DATASETS: dict[str, Entry] = {
    "digits": Entry(_SOURCES + "digits:SPEC", "1,797 grey 8x8 digits that come with scikit-learn; no download"),
    "cifar10": Entry(_SOURCES + "downloads:CIFAR10", "60,000 colour 32x32 images in 10 classes; downloaded"),
    "cifar100": Entry(_SOURCES + "downloads:CIFAR100", "60,000 colour 32x32 images in 100 classes; downloaded"),
    "stl10": Entry(
        _SOURCES + "downloads:STL10",
        "13,000 labelled colour 96x96 images in 10 classes; downloaded; its unlabelled split is not used",
    ),
    "imagefolder": Entry(
        _SOURCES + "imagefolder:SPEC", "your own images: --data-dir with train/CLASS/ and test/CLASS/"
    ),
    "synthetic": Entry(_SOURCES + "synthetic:SPEC", "384 generated 16x16 images in 4 classes, for tests and trials"),
}


def load_dataset(
    name: str,
    *,
    data_dir: Path | None = None,
    train_images: int | None = None,
    image_size: int | None = None,
    offline: bool = False,
) -> Dataset:
    """The data set called `name` with its fixed splits, decoded and resident where it fits in memory.

    `data_dir` is where images lie or downloads go (`data` by default); `train_images` takes a fixed stratified subset
    of the training images; `image_size` is in pixels. The splits depend on these arguments alone, never on a run's
    seed. Raises UsageError for a wrong name or number, DataError where data are missing or damaged or `offline`
    forbids a download, StorageError where a download cannot be written.
    """
    from dsabench.data.loading import build

    return build(name, data_dir=data_dir, train_images=train_images, image_size=image_size, offline=offline)
