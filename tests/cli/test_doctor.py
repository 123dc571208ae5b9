"""`dsabench doctor`, and what is said of the data before a training."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command import dsabench
from PIL import Image

from dsabench.cli.doctor import repeated
from dsabench.data.duplicates import Twins

SMALL = ("--backbone", "resnet8w16", "--epochs", "1", "--batch-size", "16", "--device", "cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """24 images of 8 px in two classes; of the test images one is a training image."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 2)):
        for name in ("ant", "bee"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / split / name / f"{k}.png")
    copied = (tmp_path / "photos" / "train" / "ant" / "3.png").read_bytes()
    (tmp_path / "photos" / "test" / "ant" / "0.png").write_bytes(copied)
    return tmp_path / "photos"


def test_the_installation(tmp_path: Path) -> None:
    done = dsabench("doctor", "--json", "--runs", tmp_path / "runs")
    found = json.loads(done.out)
    assert done.code == 0
    assert {"dsabench", "python", "torch", "device", "threads", "extra hf"} <= found.keys()
    assert found[f"run store {tmp_path / 'runs'}"] == "writable"
    assert not (tmp_path / "runs").exists()


def test_test_images_in_train_are_named_and_strict_refuses_them(folder: Path) -> None:
    asked = ("doctor", "--dataset", "imagefolder", "--data-dir", folder)
    done = dsabench(*asked)
    assert done.code == 0
    assert "same pixels, test in train" in done.out
    assert "ant/0.png" in done.err
    assert "ant/3.png" in done.err
    assert "warning: 1 test image is in train, pixel by pixel\n" in done.err
    strict = dsabench(*asked, "--strict", "--json")
    assert strict.code == 3
    assert json.loads(strict.out)["counts"] == {"train": 18, "val": 2, "test": 4}


def test_equal_images_are_named_and_those_of_different_classes_called_so(folder: Path) -> None:
    (folder / "train" / "bee" / "5.png").write_bytes((folder / "train" / "ant" / "3.png").read_bytes())
    asked = ("doctor", "--dataset", "imagefolder", "--data-dir", folder)
    done = dsabench(*asked)
    (line,) = [line for line in done.err.splitlines() if line.startswith("same pixels, test in train: ")]
    assert all(name in line for name in ("train ant/3.png", "train bee/5.png", "test ant/0.png"))
    assert line.endswith(", of different classes: ant, bee")
    (row,) = [row for row in done.out.splitlines() if "same pixels, different classes" in row]
    assert row.split()[-1] == "1"
    (group,) = json.loads(dsabench(*asked, "--json").out)["different_classes"]
    assert sorted(group) == ["test ant/0.png", "train ant/3.png", "train bee/5.png"]
    # Within train alone, files are named too.
    (folder / "test" / "ant" / "0.png").unlink()
    inside = dsabench(*asked)
    assert "ant/3.png = train bee/5.png" in inside.err
    assert "test image" not in inside.err


def test_equal_images_are_named_under_the_worst_kind_that_they_are() -> None:
    """So that one kind does not crowd another one out, and no group is named twice."""
    leak, both = (("train", 3), ("test", 0)), (("train", 1), ("val", 4), ("test", 2))
    inside = tuple((("train", k), ("train", k + 1)) for k in (10, 20, 30))
    val, other = (("val", 0), ("val", 1)), (("train", 5), ("val", 2))
    found = SimpleNamespace(
        exact=Twins((*inside, val, other, leak)),
        perceptual=Twins((*inside, val, (*leak, ("test", 7)), other, both, (("test", 8), ("test", 9)))),
    )
    assert repeated(found) == [
        ("same pixels, test in train", [leak]),
        ("same pixels, val in train", [other]),
        ("same pixels, within val", [val]),
        ("same pixels, within train", list(inside)),
        ("look alike, test in train", [(*leak, ("test", 7)), both]),
        ("look alike, within test", [(("test", 8), ("test", 9))]),
    ]


def test_the_others_are_looked_at_where_images_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ant/5.png", "bee/7.png"):
        (folder / "train" / name).write_bytes(b"no image")
    asked = ("doctor", "--dataset", "imagefolder", "--data-dir", folder)
    for resident in (True, False):
        if not resident:
            monkeypatch.setattr("dsabench.data.loading.RESIDENT_BYTES", 0)
        done = dsabench(*asked)
        assert (done.code, done.out) == (3, "")
        # The two that cannot be read are not taken for each other.
        (same,) = [line for line in done.err.splitlines() if "same pixels" in line]
        assert same == "of the images that can be read, same pixels, test in train: train ant/3.png = test ant/0.png"
        assert "2 images cannot be read; repair or remove them:" in done.err
        assert all(name in done.err for name in ("ant/5.png", "bee/7.png"))
    # Nothing is there twice but those.
    (folder / "test" / "ant" / "0.png").unlink()
    assert "of the images" not in dsabench(*asked).err


def test_a_clean_set_is_told_in_a_line_each(folder: Path) -> None:
    (folder / "test" / "ant" / "0.png").unlink()
    (folder / "test" / "bee" / "0.png").unlink()
    rows = [
        row.split() for row in dsabench("doctor", "--dataset", "imagefolder", "--data-dir", folder).out.splitlines()
    ]
    words = [" ".join(row) for row in rows]
    assert "same pixels none" in words
    assert "look alike none" in words
    assert "test images 2, 1 a class" in words
    assert not [row for row in rows if row and row[-1] == "0"]


def test_sixteen_bits_that_come_out_black_are_told(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for k in range(10):
            pixels = draw.integers(0, 4095, (8, 8)).astype(np.uint16)
            pixels[0, 0] = 4094
            Image.fromarray(pixels).save(tmp_path / name / f"{k}.png")
    asked = ("doctor", "--dataset", "imagefolder", "--data-dir", tmp_path)
    done = dsabench(*asked)
    assert "divided by 257; largest value 4,094 of 65,535" in done.out
    assert json.loads(dsabench(*asked, "--json").out)["deepest"] == 4094
    assert "the largest value of the 16-bit images is 4,094 of 65,535" in done.err
    which = rf"20 of 20 images \(first {re.escape(str(tmp_path))}/ant/\d\.png\) come out nearly black; rescale them"
    assert len(re.findall(which, done.err)) == 1
    assert "the mean of train is 2.0 standard deviations from what the pixels are normalised by" in done.err
    data = ("--dataset", "imagefolder", "--data-dir", tmp_path, "--dry-run")
    dark = "warning: the largest value of the 16-bit images is 4,094 of 65,535"
    for command in (("pretrain", *SMALL), ("compare", "simclr", "byol", *SMALL)):
        assert dark in dsabench(*command, *data).err.splitlines()[1]
    for path in tmp_path.glob("*/*.png"):
        with Image.open(path) as image:
            scaled = np.asarray(image) * np.uint16(16)
        Image.fromarray(scaled).save(path)
    assert "warning" not in dsabench(*asked).err


def test_a_data_set_that_is_not_there() -> None:
    done = dsabench("doctor", "--dataset", "cifar11")
    assert done.code == 2
    assert "did you mean 'cifar10'" in done.err


def test_what_was_read_is_said_and_a_name_changes_no_run(folder: Path, tmp_path: Path) -> None:
    asked = ("pretrain", "--dataset", "imagefolder", *SMALL, "--runs", tmp_path / "runs")
    first = dsabench(*asked, "--data-dir", folder)
    assert first.err.splitlines()[0] == ("imagefolder: 2 classes, 18 train, 2 val (10% of train), 4 test (test/); 8 px")
    assert "--data-name" not in first.err
    (state,) = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/*/*/run.json")]
    assert state["data_facts"]["image_size"] == 8
    named = dsabench(*asked, "--data-dir", folder, "--data-name", "insects")
    assert "already finished" in named.out
    assert named.err.startswith("insects: 2 classes")
    folder.rename(tmp_path / "moved")
    assert "already finished" in dsabench(*asked, "--data-dir", tmp_path / "moved").out
    (tmp_path / "moved" / "train" / "ant" / "9.png").unlink()
    other = dsabench(*asked, "--data-dir", tmp_path / "moved")
    assert " finished: " in other.out
    assert "are called imagefolder too: --data-name NAME tells them apart" in other.err
