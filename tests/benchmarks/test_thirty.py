"""The folder of thirty classes: which images are drawn, what becomes of them, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.thirty import join
from dsabench.errors import DataError

COUNTS = {"train": 3, "test": 2}


def image_folder(root: Path, mode: str, classes: str) -> Path:
    """Five images for each class and split, of which each has one colour of its own."""
    for place, (split, name, number) in enumerate((s, c, n) for s in COUNTS for c in classes for n in range(5)):
        path = root / split / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (28, 28), place if mode == "L" else (place, 7, 0)).save(path)
    return root


def test_images_are_drawn_by_one_seed_and_brought_to_one_size(tmp_path: Path) -> None:
    cifar, fashion = image_folder(tmp_path / "c", "RGB", "ab"), image_folder(tmp_path / "f", "L", "01")
    out = tmp_path / "out"
    assert join(cifar, fashion, out, COUNTS) == 14 * 5
    generator = np.random.default_rng(0)
    for split, count in COUNTS.items():
        names = {path.name for path in (out / split).iterdir()}
        assert names == {"cifar-a", "cifar-b", "fashi-0", "fashi-1", *(f"digit-{digit}" for digit in range(10))}
        for folder in ("cifar-a", "cifar-b", "fashi-0", "fashi-1"):
            source = (cifar if folder.startswith("cifar") else fashion) / split / folder[-1]
            wanted = {f"{place:05d}.png": place for place in generator.choice(5, count, replace=False)}
            assert {path.name for path in (out / split / folder).iterdir()} == set(wanted)
            for name, place in wanted.items():
                with Image.open(out / split / folder / name) as ours, Image.open(source / f"{place}.png") as theirs:
                    assert (ours.mode, ours.size) == ("RGB", (16, 16))
                    assert ours.getcolors() == [(256, theirs.convert("RGB").getpixel((0, 0)))]


def test_digits_of_the_two_splits_are_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    join(image_folder(tmp_path / "c", "RGB", "a"), image_folder(tmp_path / "f", "L", "0"), out, COUNTS)
    known = load_digits()
    for digit in (0, 9):
        places = np.flatnonzero(known.target == digit)
        for split, own in (("train", places[:3]), ("test", places[3:5])):
            files = sorted((out / split / f"digit-{digit}").iterdir())
            assert [file.name for file in files] == [f"{place:05d}.png" for place in own]
            grey = Image.fromarray((known.images[own[0]] / 16 * 255).astype("uint8"))
            with Image.open(files[0]) as image:
                assert np.array_equal(image, grey.convert("RGB").resize((16, 16), Image.Resampling.BICUBIC))


def test_what_is_missing_is_named_before_anything_is_written(tmp_path: Path) -> None:
    cifar, fashion, out = image_folder(tmp_path / "c", "RGB", "a"), tmp_path / "none", tmp_path / "out"
    with pytest.raises(DataError, match=r"none/train is no folder of classes$"):
        join(cifar, fashion, out, COUNTS)
    with pytest.raises(DataError, match=r"c/train/a has 5 images; 100 are wanted$"):
        join(cifar, cifar, out)
    assert not out.exists()
    out.mkdir()
    with pytest.raises(DataError, match="is there already"):
        join(cifar, cifar, out, COUNTS)
