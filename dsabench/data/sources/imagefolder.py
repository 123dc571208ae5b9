"""Folders of images, one folder a class: the user's own data."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import DatasetSpec, Files, RawDataset, RawSplit
from dsabench.errors import DataError, UsageError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
LAYOUT = "expected train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png alone"


def build(config: DataConfig, offline: bool) -> RawDataset:
    """List `train` and `test` (or `val`) in the folder; of a single folder of classes a fifth is the test split.

    Files that are not images, and names that begin with a dot, are ignored. Raises UsageError without a folder,
    DataError where folders or images are missing or the classes of train and test differ.
    """
    if config.folder is None:
        raise UsageError(f"the data set {config.name} needs --data-dir FOLDER; {LAYOUT}")
    data_dir = Path(config.folder)
    if not data_dir.is_dir():
        raise DataError(f"no folder {data_dir}; {LAYOUT}")
    train_dir = data_dir / "train"
    test_dir = next((data_dir / name for name in ("test", "val") if (data_dir / name).is_dir()), None)
    if not train_dir.is_dir():
        if test_dir is not None:
            raise DataError(f"{test_dir} has no folder train beside it; {LAYOUT}")
        train_dir = data_dir
    train, ignored = _listing(train_dir)
    if test_dir is None:
        _check_counts(train_dir, train, 3, "one each for training, validation and test")
        return RawDataset(_labelled(train_dir, train), None, tuple(train), ignored=ignored)
    test, more_ignored = _listing(test_dir)
    if train.keys() != test.keys():
        raise DataError(
            f"the classes differ: only in {train_dir}: {_names(train.keys() - test.keys())}; "
            f"only in {test_dir}: {_names(test.keys() - train.keys())}"
        )
    _check_counts(train_dir, train, 2, "one to train on and one for validation")
    unused = "; val/ is not used" if test_dir.name == "test" and (data_dir / "val").is_dir() else ""
    return RawDataset(
        _labelled(train_dir, train),
        _labelled(test_dir, test),
        tuple(train),
        test_from=f"{test_dir.name}/{' used as test' if test_dir.name == 'val' else unused}",
        ignored=ignored + more_ignored,
    )


def _listing(folder: Path) -> tuple[dict[str, tuple[str, ...]], int]:
    """Class -> paths of its images relative to `folder`, both sorted, so that no listing order matters; and how many
    files were ignored."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise DataError(f"{folder} has {len(names)} folders of classes, but two are needed; {LAYOUT}")
    found = {name: _images(folder, name) for name in names}
    return {name: images for name, (images, _) in found.items()}, sum(ignored for _, ignored in found.values())


def _images(folder: Path, name: str) -> tuple[tuple[str, ...], int]:
    found, ignored = [], 0
    for parent, _, files in os.walk(folder / name):
        for file in files:
            if not file.startswith(".") and Path(file).suffix.lower() in SUFFIXES:
                found.append(Path(parent, file).relative_to(folder).as_posix())
            else:
                ignored += 1
    for path in found:
        if not (folder / path).is_file():
            raise DataError(f"{folder / path} has the name of an image but is no file; remove it")
    if not found:
        raise DataError(f"no images in {folder / name}; known endings: {_names(SUFFIXES)}")
    return tuple(sorted(found)), ignored


def _check_counts(folder: Path, listing: dict[str, tuple[str, ...]], least: int, why: str) -> None:
    for name, paths in listing.items():
        if len(paths) < least:
            raise DataError(f"{folder / name} has {len(paths)} images, but a class needs {least}: {why}")


def _labelled(folder: Path, listing: dict[str, tuple[str, ...]]) -> RawSplit:
    paths = tuple(path for group in listing.values() for path in group)
    counts = torch.tensor([len(group) for group in listing.values()])
    return RawSplit(Files(folder, paths), torch.arange(len(listing)).repeat_interleave(counts))


def _names(names: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


SPEC = DatasetSpec(
    name="imagefolder",
    builder=build,
    channels=3,
    image_size=None,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
