"""Folders of images, one folder a class: the user's own data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch

from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import DatasetSpec, Files, RawDataset, RawSplit
from dsabench.errors import MOST_NAMED, DataError, UsageError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
LAYOUT = "expected train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png alone"


def build(config: DataConfig, offline: bool) -> RawDataset:
    """List `train` and `test` (or `val`) in the folder; of a single folder of classes a fifth is the test split.

    Files that are not images, lie beside the folders of classes or have a name that begins with a dot are ignored.
    Raises UsageError without a folder, DataError where folders are missing; classes without images and those of train
    and test that differ are `problems`.
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
    train, test = _listing(train_dir), _listing(test_dir) if test_dir else None
    ignored = train.ignored + (test.ignored if test else ())
    if train_dir != data_dir:
        ignored += _beside(data_dir)
    ignored_names = tuple(path.relative_to(data_dir).as_posix() for path in sorted(ignored)[:MOST_NAMED])
    if test_dir is None or test is None:
        few = _too_few(train, 3, "one each for training, validation and test")
        return RawDataset(
            train.labelled(),
            None,
            tuple(train.images),
            ignored=len(ignored),
            ignored_names=ignored_names,
            problems=train.problems + few,
        )
    differ: tuple[str, ...] = ()
    if train.images.keys() != test.images.keys():
        differ = (
            f"the classes differ: only in {train_dir}: {_names(train.images.keys() - test.images.keys())}; "
            f"only in {test_dir}: {_names(test.images.keys() - train.images.keys())}",
        )
    few = _too_few(train, 2, "one to train on and one for validation")
    unused = "; val/ is not used" if test_dir.name == "test" and (data_dir / "val").is_dir() else ""
    return RawDataset(
        train.labelled(),
        test.labelled(),
        tuple(train.images),
        test_from=f"{test_dir.name}/{' used as test' if test_dir.name == 'val' else unused}",
        ignored=len(ignored),
        ignored_names=ignored_names,
        problems=(*differ, *train.problems, *test.problems, *few),
    )


class Listing(NamedTuple):
    """Class -> paths of its images relative to `folder`, both sorted, so that no listing order matters; the files that
    are none of them; and what is wrong with the classes, in words."""

    folder: Path
    images: dict[str, tuple[str, ...]]
    ignored: tuple[Path, ...]
    problems: tuple[str, ...]

    def labelled(self) -> RawSplit:
        paths = tuple(path for group in self.images.values() for path in group)
        counts = torch.tensor([len(group) for group in self.images.values()])
        return RawSplit(Files(self.folder, paths), torch.arange(len(self.images)).repeat_interleave(counts))


def _listing(folder: Path) -> Listing:
    """What is in a folder of classes; raises DataError where it has fewer than two."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise DataError(f"{folder} has {len(names)} folders of classes, but two are needed; {LAYOUT}")
    images: dict[str, tuple[str, ...]] = {}
    ignored, problems = _beside(folder), []
    for name in names:
        found, others = _files(folder / name)
        for path in found:
            if not path.is_file():
                problems.append(f"{path} has the name of an image but is no file; remove it")
        if not found:
            problems.append(f"no images in {folder / name}; known endings: {_names(SUFFIXES)}")
        images[name] = tuple(sorted(path.relative_to(folder).as_posix() for path in found if path.is_file()))
        ignored += others
    return Listing(folder, images, ignored, tuple(problems))


def _files(folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The files below a folder that are called images, and the others."""
    found: list[Path] = []
    ignored: list[Path] = []
    for parent, _, files in os.walk(folder):
        for file in files:
            is_image = not file.startswith(".") and Path(file).suffix.lower() in SUFFIXES
            (found if is_image else ignored).append(Path(parent, file))
    return tuple(found), tuple(ignored)


def _beside(folder: Path) -> tuple[Path, ...]:
    """The files right in a folder, where folders are expected."""
    return tuple(entry for entry in folder.iterdir() if entry.is_file())


def _too_few(listing: Listing, least: int, why: str) -> tuple[str, ...]:
    return tuple(
        f"{listing.folder / name} has {len(paths)} images, but a class needs {least}: {why}"
        for name, paths in listing.images.items()
        if 0 < len(paths) < least
    )


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
