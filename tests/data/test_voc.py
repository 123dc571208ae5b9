"""Images with boxes: what is read of the format of VOC, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from voc_format import write_voc

from dsabench.data.voc import read_voc
from dsabench.errors import DataError


def test_lists_images_and_boxes_are_read(tmp_path: Path) -> None:
    write_voc(tmp_path, train=3, test=2)
    voc = read_voc(tmp_path)
    assert voc.classes == ("bar", "dot")
    assert (len(voc.train), len(voc.test)) == (3, 2)
    image, (corners, labels, difficult) = voc.train.image(0), voc.train.boxes[0]
    assert image.shape == (3, 48, 64)
    assert image.dtype == torch.uint8
    assert labels.tolist() == [2, 1]
    assert difficult.tolist() == [False, False]
    # What lies in a box is bright, and its pixel is the first within.
    for left, top, right, bottom in corners.int().tolist():
        assert image[:, top:bottom, left:right].float().mean() > 200
        assert image[:, top, left - 1].float().mean() < 60
    assert voc.sha256 == read_voc(tmp_path).sha256
    write_voc(tmp_path, train=3, test=2, shift=1)
    assert voc.sha256 != read_voc(tmp_path).sha256


def test_train_and_val_stand_in_for_what_has_no_test(tmp_path: Path) -> None:
    write_voc(tmp_path, train=2, test=1, names=("train", "val"))
    assert (len(read_voc(tmp_path).train), len(read_voc(tmp_path).test)) == (2, 1)


@pytest.mark.parametrize(
    ("path", "content", "text"),
    [
        ("ImageSets/Main/test.txt", None, "no lists of images"),
        ("ImageSets/Main/trainval.txt", "../../etc/passwd\n", "no name of an image"),
        ("ImageSets/Main/trainval.txt", "", "names no image"),
        ("Annotations/000001.xml", "<annotation><object>", "cannot read .*000001.xml"),
        ("Annotations/000001.xml", "<a><object><name>dot</name></object></a>", "no name, or no box"),
        ("Annotations/000001.xml", "<a/>", "has no box to train on"),
        ("JPEGImages/000002.jpg", None, "cannot read .*000002"),
    ],
)
def test_what_is_damaged_is_named(tmp_path: Path, path: str, content: str | None, text: str) -> None:
    write_voc(tmp_path, train=1, test=1)
    if content is None:
        (tmp_path / path).unlink()
    else:
        (tmp_path / path).write_text(content)
    with pytest.raises(DataError, match=text):
        read_voc(tmp_path)


def test_an_image_that_is_none_is_named_when_it_is_read(tmp_path: Path) -> None:
    write_voc(tmp_path, train=1, test=1)
    (tmp_path / "JPEGImages" / "000001.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cannot read the image .*000001\.jpg"):
        read_voc(tmp_path).train.image(0)
