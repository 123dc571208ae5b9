"""Folders of images, one folder a class: the user's own data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import DatasetSpec, Files, RawDataset, RawSplit
from dsabench.data.sources.roles import ROLES
from dsabench.errors import MOST_NAMED, DataError, UsageError, several

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
LAYOUT = "expected train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png alone"


def build(config: DataConfig, offline: bool) -> RawDataset:
    """List `train` and `test` (or `val`) in the folder, however they are spelled (`ROLES`); of a single folder of
    classes a fifth is the test split.

    Files that are not images, lie beside the folders of classes or have a name that begins with a dot are ignored.
    Raises UsageError without a folder, DataError where folders are missing or would be taken for what they are not;
    classes without images and those of train and test that differ are `problems`.
    """
    if config.folder is None:
        raise UsageError(f"the data set {config.name} needs --data-dir FOLDER; {LAYOUT}")
    data_dir = Path(config.folder)
    if not data_dir.is_dir():
        raise DataError(f"no folder {data_dir}; {LAYOUT}")
    folders = _splits(data_dir)
    train_dir = folders.get("train", data_dir)
    _check_unwrapped(train_dir, data_dir)
    test_dir = folders.get("test", folders.get("val"))
    train, test = _listing(train_dir), _listing(test_dir) if test_dir else None
    ignored = train.ignored + (test.ignored if test else ())
    if train_dir != data_dir:
        ignored += _beside(data_dir)
    unused = _unused(data_dir, folders) if folders else ()
    below = (*_same_below(train_dir, train.images), *_same_in_small_letters(train_dir, train.images))
    cautions = (*_respelled(folders), *unused, *below)
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
            cautions=cautions,
        )
    few = _too_few(train, 2, "one to train on and one for validation")
    spare = f"; {folders['val'].name}/ is not used" if {"test", "val"} <= folders.keys() else ""
    return RawDataset(
        train.labelled(),
        test.labelled(),
        tuple(train.images),
        test_from=f"{test_dir.name}/{spare if 'test' in folders else ' used as test'}",
        ignored=len(ignored),
        ignored_names=ignored_names,
        problems=(*_differ(train, test), *train.problems, *test.problems, *few),
        cautions=cautions,
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
    names = _folders(folder)
    flat = sum(_is_image(entry.name) for entry in _beside(folder))
    if not names and flat:
        raise DataError(
            f"{folder} has {flat:,} images, but no folders of classes: their labels are needed to hold images out and "
            f"to measure, and without them dsabench neither pretrains nor evaluates; {LAYOUT}, or csv:FILE with labels"
        )
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
            (found if _is_image(file) else ignored).append(Path(parent, file))
    return tuple(found), tuple(ignored)


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _folders(folder: Path) -> list[str]:
    """The names of the folders right in a folder, sorted, without the hidden ones."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _splits(data_dir: Path) -> dict[str, Path]:
    """The folders of the splits (`train`, `test`, `val`) in a folder; empty where its folders are classes.

    They are splits where one has the plain name or two speak of different ones, so that a class may be called `valid`.
    Raises DataError where there are splits without `train`, and where two folders could be the same one.
    """
    names = _folders(data_dir)
    called: dict[str, list[str]] = {}
    # The plain name comes before others for the same split.
    for name in sorted(names, key=lambda name: name not in ROLES.values()):
        if role := ROLES.get(name.lower()):
            called.setdefault(role, []).append(name)
    if len(called) < 2 and not set(ROLES.values()) & set(names):
        return {}
    if "train" not in called:
        there = ", ".join(f"{data_dir / spelled[0]}" for spelled in called.values())
        raise DataError(f"{there} has no folder train beside it; {LAYOUT}")
    for role, (first, *others) in called.items():
        if others:
            both = f"{first}/ and {others[0]}/ in {data_dir} could both be {role}"
            which = f"put the images of both into {role}/ or" if first == role else f"rename one of them to {role}, and"
            raise DataError(f"{both}; {which} move the other away")
    return {role: data_dir / called[role][0] for role in ("train", "test", "val") if role in called}


def _respelled(folders: Mapping[str, Path]) -> tuple[str, ...]:
    """What is said of splits whose folders have another name than the plain one."""
    read = [role for role in folders if role != "val" or "test" not in folders]
    told = [f"{folders[role].name}/ is read as {role}/" for role in read if folders[role].name != role]
    return (", ".join(told),) if told else ()


def _unused(data_dir: Path, folders: Mapping[str, Path]) -> tuple[str, ...]:
    """What is said of the folders beside those of splits, which nothing reads."""
    read = {folder.name for folder in folders.values()}
    return tuple(f"warning: the folder {name}/ is not used" for name in _folders(data_dir) if name not in read)


def _same_below(folder: Path, classes: Iterable[str]) -> tuple[str, ...]:
    """A warning where all classes have the same folders in them: then they are hardly classes."""
    first, *others = (_folders(folder / name) for name in classes)
    if len(first) < 2 or any(names != first for names in others):
        return ()
    shown = ", ".join(first[:3]) + (", ..." if len(first) > 3 else "")
    return (f"warning: every class has the same folders in it ({shown}); are those the classes? {LAYOUT}",)


def _check_unwrapped(folder: Path, data_dir: Path) -> None:
    """Raise DataError where the only folder in `data_dir` is the one that holds the classes or the splits."""
    names = _folders(data_dir)
    if folder == data_dir and len(names) == 1 and len(_folders(data_dir / names[0])) > 1:
        raise DataError(
            f"{data_dir} has one folder, {names[0]}, which has the folders in it; did you mean "
            f"--data-dir {data_dir / names[0]}? {LAYOUT}"
        )


def _same_in_small_letters(folder: Path, classes: Iterable[str]) -> tuple[str, ...]:
    """A warning for each class whose name is that of one before it but for capital letters."""
    first: dict[str, str] = {}
    return tuple(
        f"warning: the classes {known} and {name} differ in capital letters alone; if they are one, move the images of "
        f"{folder / name} into {folder / known}"
        for name in classes
        if (known := first.setdefault(name.lower(), name)) != name
    )


def _differ(train: Listing, test: Listing) -> tuple[str, ...]:
    """That a class is in one split alone; of a class without images that is told already."""
    alone = [
        f"only in {one.folder}: {_names(names)}"
        for one, other in ((train, test), (test, train))
        if (names := {name for name, paths in one.images.items() if paths and name not in other.images})
    ]
    if not alone:
        return ()
    spelled = {name.lower(): name for name in train.images if name not in test.images}
    renames = [
        f"mv {test.folder / name} {test.folder / spelled[name.lower()]}"
        for name in test.images
        if name not in train.images and name.lower() in spelled
    ]
    capital = f"; in capital letters alone: {several(renames, ', ')}" if renames else ""
    return (f"the classes differ: {'; '.join(alone)}{capital}",)


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
    return ", ".join(sorted(names))


SPEC = DatasetSpec(
    name="imagefolder",
    builder=build,
    channels=3,
    image_size=None,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
