"""Rows of images that name their class and their split in words: brought to a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from dsabench.data.dataset import EncodedImages, RawDataset, RawSplit
from dsabench.errors import DataError

ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "tests"), "test"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "val"),
}
"""What splits are called, in small letters, and what they are."""


def arranged(
    images: EncodedImages, labels: Sequence[str], roles: Sequence[str], *, source: str, ignored: int = 0
) -> RawDataset:
    """The data set of `images` with their classes and their roles (`train`, `val`, `test`), one each, in words.

    Classes are in alphabetical order, or of numbers in theirs. Without test images the validation images are those;
    without any of both, all may be trained on and held out from. Raises DataError where a class is missing in a split.
    """
    classes = sorted(set(labels), key=_numbers_first)
    if len(classes) < 2:
        raise DataError(f"{source} has {len(classes)} classes, but two are needed")
    number = {name: k for k, name in enumerate(classes)}
    y = torch.tensor([number[name] for name in labels])
    parts = {
        role: RawSplit(images.take(index), y[index])
        for role in ("train", "val", "test")
        if (index := torch.tensor([place for place, one in enumerate(roles) if one == role], dtype=torch.int64)).numel()
    }
    if "train" not in parts:
        raise DataError(f"{source} has no training images, only: {', '.join(parts) or 'none'}")
    for role, part in parts.items():
        _check_classes(part, classes, f"{source}, {role}", 3 if len(parts) == 1 else 2 if role == "train" else 1)
    test, val = parts.get("test"), parts.get("val")
    test_from = "its own" if test else "val used as test" if val else ""
    if test is None:
        test, val = val, None
    return RawDataset(parts["train"], test, tuple(classes), val, test_from, ignored)


def _check_classes(part: RawSplit, classes: Sequence[str], where: str, least: int) -> None:
    counts = Counter(part.labels.tolist())
    few = [name for number, name in enumerate(classes) if counts[number] < least]
    if few:
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        raise DataError(f"{where}: the classes {', '.join(few[:5])}{more} have fewer than {least} images")


def _numbers_first(name: str) -> tuple[bool, int, str]:
    return (False, int(name), "") if name.isdecimal() and name.isascii() else (True, 0, name)
