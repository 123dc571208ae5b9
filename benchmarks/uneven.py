"""Image folders of few classes and of uneven ones, for the sweeps of results/research.md.

    python -m benchmarks.uneven FOLDER OUT

Writes OUT/classes-3, classes-5, imbalance-10 and imbalance-50 from the training images of an image folder of ten
classes: 2,000 images to train on, equally many of each of the first classes, or of all ten falling geometrically to one
in ten and one in fifty of the first; and as `test/` 100 others of each class, training images too, so that no test
image of FOLDER is looked at while something is developed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.thirty import classes
from dsabench.errors import DataError

TRAIN, TEST = 2000, 100


def even(classes: int) -> list[int]:
    """How many images each of so many classes gets."""
    return [TRAIN // classes] * classes


def falling(classes: int, ratio: float) -> list[int]:
    """How many images each class gets where the first has `ratio` times as many as the last, in equal ratios."""
    shares = [ratio ** (-place / (classes - 1)) for place in range(classes)]
    return [round(TRAIN * share / sum(shares)) for share in shares]


def folders() -> Mapping[str, Sequence[int]]:
    """What is made, by name: images of each class."""
    return {
        "classes-3": even(3),
        "classes-5": even(5),
        "imbalance-10": falling(10, 10),
        "imbalance-50": falling(10, 50),
    }


def make(source: Path, out: Path, counts: Sequence[int]) -> None:
    """Copy the images in the order of their names.

    Raises DataError where classes or images are missing or `out` is there already, before anything is written.
    """
    if out.exists():
        raise DataError(f"{out} is there already; name a new folder")
    there = classes(source / "train")
    if len(there) < len(counts):
        raise DataError(f"{source}/train has {len(there)} classes; {len(counts)} are wanted")
    chosen: dict[Path, Path] = {}
    for folder, count in zip(there, counts, strict=False):
        images = sorted(folder.iterdir())
        if len(images) < count + TEST:
            raise DataError(f"{folder} has {len(images)} images; {count + TEST} are wanted")
        for place, image in enumerate(images[: count + TEST]):
            chosen[out / ("test" if place < TEST else "train") / folder.name / image.name] = image
    for path, image in chosen.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, path)


def main() -> None:
    """Make the four of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", type=Path, metavar="FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse_args()
    try:
        for name, counts in folders().items():
            make(options.source, options.out / name, counts)
    except DataError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
