"""Makes an image folder of thirty classes: ten each of CIFAR-10, Fashion-MNIST and digits, 16 pixels a side.

    python -m benchmarks.thirty CIFAR FASHION OUT

CIFAR and FASHION are image folders with train/CLASS/* and test/CLASS/*; the digits are those of scikit-learn. OUT gets
100 training and 50 test images of each class, drawn by a fixed seed: what `results/research-joined30.csv` was trained
on, with `--dataset imagefolder --data-dir OUT --data-name joined30 --image-size 16`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from dsabench.data.sources import digits
from dsabench.errors import DataError

IMAGES: Mapping[str, int] = {"train": 100, "test": 50}
SIZE = 16


def join(cifar: Path, fashion: Path, out: Path, images: Mapping[str, int] = IMAGES) -> int:
    """Write so many images of every class for each split, and return how many that are.

    Raises DataError where a folder or images are missing or `out` is there already, before anything is written.
    """
    if out.exists():
        raise DataError(f"{out} is there already; name a new folder")
    # One generator draws for all classes in turn.
    generator = np.random.default_rng(0)
    chosen: dict[Path, Path] = {}
    for split, count in images.items():
        for prefix, root in (("cifar", cifar), ("fashi", fashion)):
            for folder in classes(root / split):
                files = sorted(folder.iterdir())
                if len(files) < count:
                    raise DataError(f"{folder} has {len(files)} images; {count} are wanted")
                for place in generator.choice(len(files), count, replace=False).tolist():
                    chosen[out / split / f"{prefix}-{folder.name}" / f"{place:05d}.png"] = files[place]
    drawn = handwritten(out, images)
    for path, image in drawn.items():
        write(path, image)
    for path, file in chosen.items():
        with Image.open(file) as opened:
            write(path, opened)
    return len(drawn) + len(chosen)


def classes(folder: Path) -> list[Path]:
    """The folders of the classes in `folder`; raises DataError where it is missing or has none."""
    found = sorted(one for one in folder.glob("*") if one.is_dir())
    if not found:
        raise DataError(f"{folder} is no folder of classes")
    return found


def handwritten(out: Path, images: Mapping[str, int]) -> dict[Path, Image.Image]:
    """The first so many digits of each class for one split, and the next ones for the other."""
    pixels, labels = digits.read()
    grey = (pixels[:, 0].numpy() / 16 * 255).astype("uint8")
    found: dict[Path, Image.Image] = {}
    for digit in range(10):
        places = np.flatnonzero(labels.numpy() == digit).tolist()
        for split, count in images.items():
            for place in places[:count]:
                found[out / split / f"digit-{digit}" / f"{place:05d}.png"] = Image.fromarray(grey[place])
            places = places[count:]
    return found


def write(path: Path, image: Image.Image) -> None:
    """Write one image as PNG in three channels at the size of all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path)


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name in ("cifar", "fashion", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    try:
        print(f"{join(options.cifar, options.fashion, options.out)} images in {options.out}")
    except DataError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
