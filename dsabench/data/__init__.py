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
    "mnist": Entry(_SOURCES + "downloads:MNIST", "70,000 grey 28x28 digits in 10 classes; downloaded"),
    "fashion_mnist": Entry(
        _SOURCES + "downloads:FASHION_MNIST", "70,000 grey 28x28 images of clothes in 10 classes; downloaded"
    ),
    "svhn": Entry(_SOURCES + "downloads:SVHN", "99,289 colour 32x32 house numbers in 10 classes; downloaded"),
    "gtsrb": Entry(
        _SOURCES + "photographs:GTSRB", "39,270 traffic signs in 43 classes, 32x32; tracks are not split; downloaded"
    ),
    "eurosat": Entry(
        _SOURCES + "photographs:EUROSAT",
        "27,000 satellite images of 64x64 in 10 classes; a fifth is held out as test; downloaded",
    ),
    "tiny_imagenet": Entry(
        _SOURCES + "photographs:TINY_IMAGENET",
        "110,000 colour 64x64 images in 200 classes; its val is test; downloaded",
    ),
    "food101": Entry(_SOURCES + "photographs:FOOD101", "101,000 photographs of food in 101 classes; downloaded"),
    "flowers102": Entry(_SOURCES + "photographs:FLOWERS102", "8,189 flowers in 102 classes, its own val; downloaded"),
    "pets": Entry(_SOURCES + "photographs:PETS", "7,349 cats and dogs of 37 breeds; downloaded"),
    "dtd": Entry(_SOURCES + "photographs:DTD", "5,640 textures in 47 classes, its first partition; downloaded"),
    "imagenet": Entry(
        _SOURCES + "photographs:IMAGENET", "ImageNet as you have it: --data-dir with train/WNID/ and val/WNID/"
    ),
    "csv": Entry(_SOURCES + "csv_file:SPEC", "csv:FILE, your own images: a table with the columns path and label"),
    "wds": Entry(_SOURCES + "webdataset:SPEC", "wds:PATTERN, your own images in tars in the format of WebDataset"),
    "hf": Entry(_SOURCES + "hub:SPEC", "hf:NAME, a set of the Hugging Face Hub or a folder (extra hf)"),
    "imagefolder": Entry(
        _SOURCES + "imagefolder:SPEC",
        "your own images: --data-dir with train/CLASS/* and test/CLASS/* (or val/), or CLASS/* alone",
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
