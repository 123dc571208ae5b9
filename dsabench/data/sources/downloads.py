"""CIFAR-10, CIFAR-100 and STL-10, through torchvision, which checks the MD5 of every file before it opens one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from filelock import FileLock
from torchvision import datasets

from dsabench.data.dataset import DatasetSpec, RawDataset, RawSplit
from dsabench.errors import DataError, StorageError

DEFAULT_FOLDER = Path("data")


# Without the unlabelled file, whose 2.6 GB would be checked on every load and are never read.
_LABELLED_STL10: Any = type("LabelledSTL10", (datasets.STL10,), {"train_list": datasets.STL10.train_list[:2]})


def _cifar(source: type[datasets.CIFAR10], data_dir: Path | None, offline: bool) -> RawDataset:
    def read(root: Path, download: bool) -> RawDataset:
        train = source(root, train=True, download=download)
        test = source(root, train=False)
        return RawDataset(_pixels_last(train), _pixels_last(test), tuple(train.classes))

    return _fetched(source.__name__, source.base_folder, read, data_dir or DEFAULT_FOLDER, offline)


def _stl10(data_dir: Path | None, offline: bool) -> RawDataset:
    def read(root: Path, download: bool) -> RawDataset:
        train = _LABELLED_STL10(root, split="train", download=download)
        test = _LABELLED_STL10(root, split="test")
        return RawDataset(_pixels_first(train), _pixels_first(test), tuple(train.classes))

    return _fetched("STL10", datasets.STL10.base_folder, read, data_dir or DEFAULT_FOLDER, offline)


def _fetched(
    title: str, folder: str, read: Callable[[Path, bool], RawDataset], root: Path, offline: bool
) -> RawDataset:
    """Read what lies in `root`, or download it first, one process at a time."""
    try:
        return read(root, False)
    except RuntimeError as missing:
        if offline:
            raise DataError(
                f"{title} is not complete in {(root / folder).absolute()} and --offline forbids a download; "
                "run once without --offline, or name the folder that has it with --data-dir"
            ) from missing
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{folder}.lock"):
            return read(root, True)
    except (URLError, HTTPException, TimeoutError, ConnectionError, RuntimeError) as error:
        raise DataError(
            f"cannot download {title} into {root.absolute()}: {error}; "
            f"try again, or unpack it by hand so that {root / folder} holds its files"
        ) from error
    except OSError as error:
        raise StorageError(
            f"cannot write {title} into {root.absolute()}: {error}; choose another --data-dir"
        ) from error


def _pixels_last(source: Any) -> RawSplit:
    images = torch.from_numpy(np.ascontiguousarray(source.data.transpose(0, 3, 1, 2)))
    return RawSplit(images, torch.tensor(source.targets))


def _pixels_first(source: Any) -> RawSplit:
    return RawSplit(torch.from_numpy(np.ascontiguousarray(source.data)), torch.from_numpy(source.labels).long())


CIFAR10 = DatasetSpec(
    name="cifar10",
    builder=partial(_cifar, datasets.CIFAR10),
    channels=3,
    image_size=32,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
CIFAR100 = DatasetSpec(
    name="cifar100",
    builder=partial(_cifar, datasets.CIFAR100),
    channels=3,
    image_size=32,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)
STL10 = DatasetSpec(
    name="stl10",
    builder=_stl10,
    channels=3,
    image_size=96,
    mean=(0.4467, 0.4398, 0.4066),
    std=(0.2603, 0.2566, 0.2713),
)
