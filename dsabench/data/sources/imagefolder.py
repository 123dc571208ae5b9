"""Folders of images, one folder a class: the user's own data."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from dsabench.data.dataset import DatasetSpec, Files, RawDataset, RawSplit
from dsabench.data.splits import held_out_count, stratified
from dsabench.errors import DataError, UsageError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
TEST_FRACTION = 0.2
LAYOUT = "expected train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png alone"


def build(data_dir: Path | None, offline: bool) -> RawDataset:
    """List `data_dir/train` and `data_dir/test` (or `val`); of a single folder of classes a fifth is the test split.

    Files that are not images, and names that begin with a dot, are ignored. Raises UsageError without `data_dir`,
    DataError where folders or images are missing or the classes of train and test differ.
    """
    if data_dir is None:
        raise UsageError(f"the data set imagefolder needs --data-dir FOLDER; {LAYOUT}")
    if not data_dir.is_dir():
        raise DataError(f"no folder {data_dir}; {LAYOUT}")
    train_dir = data_dir / "train"
    test_dir = next((data_dir / name for name in ("test", "val") if (data_dir / name).is_dir()), None)
    if not train_dir.is_dir():
        if test_dir is not None:
            raise DataError(f"{test_dir} has no folder train beside it; {LAYOUT}")
        return _split(data_dir, _listing(data_dir))
    train = _listing(train_dir)
    if test_dir is None:
        return _split(train_dir, train)
    test = _listing(test_dir)
    if train.keys() != test.keys():
        raise DataError(
            f"the classes differ: only in {train_dir}: {_names(train.keys() - test.keys())}; "
            f"only in {test_dir}: {_names(test.keys() - train.keys())}"
        )
    _check_counts(train_dir, train, 2, "one to train on and one for validation")
    return RawDataset(_labelled(train_dir, train), _labelled(test_dir, test), tuple(train))


def _listing(folder: Path) -> dict[str, tuple[str, ...]]:
    """Class -> paths of its images relative to `folder`, both sorted, so that no listing order matters."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise DataError(f"{folder} has {len(names)} folders of classes, but two are needed; {LAYOUT}")
    return {name: _images(folder, name) for name in names}


def _images(folder: Path, name: str) -> tuple[str, ...]:
    found = [
        Path(parent, file).relative_to(folder).as_posix()
        for parent, _, files in os.walk(folder / name)
        for file in files
        if not file.startswith(".") and Path(file).suffix.lower() in SUFFIXES
    ]
    for path in found:
        if not (folder / path).is_file():
            raise DataError(f"{folder / path} has the name of an image but is no file; remove it")
    if not found:
        raise DataError(f"no images in {folder / name}; known endings: {_names(SUFFIXES)}")
    return tuple(sorted(found))


def _split(folder: Path, listing: dict[str, tuple[str, ...]]) -> RawDataset:
    _check_counts(folder, listing, 3, "one each for training, validation and test")
    everything = _labelled(folder, listing)
    count = held_out_count(len(everything.labels), len(listing), TEST_FRACTION)
    held_out = stratified(everything.labels, count, "imagefolder test", leave=2)
    training = torch.ones(len(everything.labels), dtype=torch.bool)
    training[held_out] = False
    return RawDataset(everything.take(training.nonzero().squeeze(1)), everything.take(held_out), tuple(listing))


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
