"""Sets that are downloaded once, verified and unpacked, and those of them that are arrays of pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torchvision import datasets

from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import DatasetSpec, RawDataset, RawSplit
from dsabench.data.sources.archives import Archive, fetch, unpack
from dsabench.errors import DataError, StorageError

DEFAULT_FOLDER = Path("data")

# Without the unlabelled file, whose 2.6 GB would be checked on every load and are never read.
_LABELLED_STL10: Any = type("LabelledSTL10", (datasets.STL10,), {"train_list": datasets.STL10.train_list[:2]})


@dataclass(frozen=True)
class Published:
    """A published set: its title, its folder below --data-dir, its archives, and what reads them.

    Archives are fetched and unpacked `into` a folder below --data-dir, where torchvision's classes look for what was in
    them. `read(root)` raises RuntimeError, OSError or
    ValueError where files are missing; `counts` are the training (with validation) and test images of the whole set,
    None where the reader verifies the files by hash.
    """

    title: str
    folder: str
    archives: tuple[Archive, ...]
    read: Callable[[Path], RawDataset]
    counts: tuple[int, int] | None = None
    into: str = "."

    def build(self, config: DataConfig, offline: bool) -> RawDataset:
        """Read what lies in the folder, or download it first, one process at a time; half a set is mended.

        Raises DataError where it is not complete and may not or cannot be downloaded, StorageError where it cannot be
        written.
        """
        root = Path(config.folder) if config.folder else DEFAULT_FOLDER
        try:
            return self._complete(root)
        except (RuntimeError, OSError, ValueError) as missing:
            if offline:
                raise DataError(
                    f"{self.title} is not complete in {(root / self.folder).absolute()} ({missing}) and --offline "
                    "forbids a download; run once without --offline, or name the folder that has it with --data-dir"
                ) from missing
        try:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / f".{self.folder.replace('/', '-')}.lock"):
                return self._mended(root)
        except (RuntimeError, ValueError, DataError) as error:
            raise DataError(
                f"cannot download {self.title} into {root.absolute()}: {error}; "
                f"try again, or unpack it by hand so that {root / self.folder} holds its files"
            ) from error
        except OSError as error:
            raise StorageError(
                f"cannot write {self.title} into {root.absolute()}: {error}; choose another --data-dir"
            ) from error

    def _mended(self, root: Path) -> RawDataset:
        try:
            # Another process may have fetched it while this one waited.
            return self._complete(root)
        except (RuntimeError, OSError, ValueError):
            pass
        for archive in self.archives:
            path = fetch(archive, root / self.into)
            if path.suffix != ".mat":
                unpack(path, root / self.into)
        return self._complete(root)

    def _complete(self, root: Path) -> RawDataset:
        raw = self.read(root)
        if self.counts is not None:
            trained = len(raw.train.labels) + (len(raw.val.labels) if raw.val else 0)
            found = (trained, len(raw.test.labels) if raw.test else 0)
            if found != self.counts:
                expected = f"{self.counts[0]:,} + {self.counts[1]:,}"
                raise RuntimeError(f"{found[0]:,} + {found[1]:,} images instead of {expected}")
        return raw


def _cifar(source: type[datasets.CIFAR10], root: Path) -> RawDataset:
    train, test = source(root, train=True), source(root, train=False)
    return RawDataset(_pixels_last(train), _pixels_last(test), tuple(train.classes))


def _mnist(source: type[datasets.MNIST], root: Path) -> RawDataset:
    train, test = source(root, train=True), source(root, train=False)
    return RawDataset(_grey(train), _grey(test), tuple(train.classes))


def _stl10(root: Path) -> RawDataset:
    train, test = _LABELLED_STL10(root, split="train"), _LABELLED_STL10(root, split="test")
    return RawDataset(_pixels_first(train), _pixels_first(test), tuple(train.classes))


def _svhn(root: Path) -> RawDataset:
    train, test = (datasets.SVHN(root / "svhn", split=split) for split in ("train", "test"))
    return RawDataset(_pixels_first(train), _pixels_first(test), tuple(map(str, range(10))))


def _grey(source: Any) -> RawSplit:
    return RawSplit(source.data[:, None], source.targets)


def _pixels_last(source: Any) -> RawSplit:
    images = torch.from_numpy(np.ascontiguousarray(source.data.transpose(0, 3, 1, 2)))
    return RawSplit(images, torch.tensor(source.targets))


def _pixels_first(source: Any) -> RawSplit:
    return RawSplit(torch.from_numpy(np.ascontiguousarray(source.data)), torch.from_numpy(source.labels).long())


def _mnist_archives(source: type[datasets.MNIST]) -> tuple[Archive, ...]:
    return tuple(Archive(tuple(mirror + name for mirror in source.mirrors), md5) for name, md5 in source.resources)


PUBLISHED: dict[str, Published] = {
    "cifar10": Published(
        "CIFAR10",
        datasets.CIFAR10.base_folder,
        (Archive((datasets.CIFAR10.url,), datasets.CIFAR10.tgz_md5),),
        partial(_cifar, datasets.CIFAR10),
    ),
    "cifar100": Published(
        "CIFAR100",
        datasets.CIFAR100.base_folder,
        (Archive((datasets.CIFAR100.url,), datasets.CIFAR100.tgz_md5),),
        partial(_cifar, datasets.CIFAR100),
    ),
    "stl10": Published(
        "STL10", datasets.STL10.base_folder, (Archive((datasets.STL10.url,), datasets.STL10.tgz_md5),), _stl10
    ),
    "mnist": Published(
        "MNIST",
        "MNIST/raw",
        _mnist_archives(datasets.MNIST),
        partial(_mnist, datasets.MNIST),
        (60_000, 10_000),
        "MNIST/raw",
    ),
    "fashion_mnist": Published(
        "FashionMNIST",
        "FashionMNIST/raw",
        _mnist_archives(datasets.FashionMNIST),
        partial(_mnist, datasets.FashionMNIST),
        (60_000, 10_000),
        "FashionMNIST/raw",
    ),
    "svhn": Published(
        "SVHN",
        "svhn",
        tuple(Archive((datasets.SVHN.split_list[s][0],), datasets.SVHN.split_list[s][2]) for s in ("train", "test")),
        _svhn,
        (73_257, 26_032),
        "svhn",
    ),
}


def published(
    name: str,
    *,
    size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    sets: Mapping[str, Published] = PUBLISHED,
    **more: Any,
) -> DatasetSpec:
    """The declaration of one of the published `sets`; its record is looked up when it is read."""

    def build(config: DataConfig, offline: bool) -> RawDataset:
        return sets[name].build(config, offline)

    return DatasetSpec(name, build, len(mean), size, mean, std, **more)


# Mean and deviation of the training pixels as usually published; `dsabench doctor --dataset NAME` measures them.
CIFAR10 = published("cifar10", size=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
CIFAR100 = published("cifar100", size=32, mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))
STL10 = published("stl10", size=96, mean=(0.4467, 0.4398, 0.4066), std=(0.2603, 0.2566, 0.2713))
MNIST = published("mnist", size=28, mean=(0.1307,), std=(0.3081,))
# Measured on its training images.
FASHION_MNIST = published("fashion_mnist", size=28, mean=(0.2860,), std=(0.3530,))
SVHN = published("svhn", size=32, mean=(0.4377, 0.4438, 0.4728), std=(0.1980, 0.2010, 0.1970))
