"""The data sets by name; reading this list imports neither torch nor a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsabench.registry import Entry

if TYPE_CHECKING:
    from dsabench.data.data_config import DataConfig
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


def load_dataset(config: DataConfig | str, *, offline: bool = False) -> Dataset:
    """The data set of a configuration, or of that name, with its fixed splits; resident where it fits in memory.

    Its folder is where images lie or downloads go (`data` by default); `train_images` takes a fixed stratified subset
    of the training images; `image_size` is in pixels. The splits depend on these alone, never on a run's seed. Raises
    UsageError for a wrong name or number, DataError where data are missing or damaged or `offline` forbids a download,
    StorageError where a download cannot be written.
    """
    from dsabench.data.data_config import DataConfig
    from dsabench.data.loading import build

    return build(DataConfig(name=config) if isinstance(config, str) else config, offline=offline)


class Datasets:
    """Loads data sets, and keeps the last one for the next run that asks for it."""

    def __init__(self, *, offline: bool = False) -> None:
        self.offline = offline
        self._last: tuple[DataConfig, Dataset] | None = None

    def load(self, config: DataConfig) -> Dataset:
        """What `load_dataset` gives, loaded once for runs that follow each other."""
        # What it is called and what was in it before do not change what is there.
        config = config.model_copy(update={"title": None, "content": None})
        if self._last is None or self._last[0] != config:
            # Not two at a time in memory.
            self._last = None
            self._last = config, load_dataset(config, offline=self.offline)
        return self._last[1]
