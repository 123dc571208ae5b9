"""Images with boxes in the format of PASCAL VOC: `JPEGImages/`, `Annotations/` and `ImageSets/Main/`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dsabench.errors import DataError

FORMAT = "a folder such as VOCdevkit/VOC2007, with JPEGImages, Annotations and ImageSets/Main"


class Boxes(NamedTuple):
    """The objects of an image: `corners` (K, 4) float32 x1, y1, x2, y2 in pixels, `labels` (K,) int64 from 1 on, and
    which are `difficult` (K,) bool, neither trained on nor scored."""

    corners: Tensor
    labels: Tensor
    difficult: Tensor


@dataclass(frozen=True)
class VocImages:
    """The images of a split: where each lies, and its boxes."""

    paths: tuple[Path, ...]
    boxes: tuple[Boxes, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, position: int) -> Tensor:
        """An image (3, h, w) uint8; raises DataError where it cannot be read."""
        path = self.paths[position]
        try:
            with Image.open(path) as file:
                return torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"cannot read the image {path}: {error}; repair or remove it") from error


class Voc(NamedTuple):
    """What is trained on and what is scored, the names of the classes, and a hash of names, sizes and annotations."""

    train: VocImages
    test: VocImages
    classes: tuple[str, ...]
    sha256: str


def read_voc(root: Path) -> Voc:
    """Train on `trainval` and score on `test` where there are lists of both, else on `train` and `val`.

    Raises DataError for a folder that is none, an annotation that cannot be read, and a class that is in the second
    list alone.
    """
    lists = root / "ImageSets" / "Main"
    pairs = (("trainval", "test"), ("train", "val"))
    pair = next((p for p in pairs if all((lists / f"{name}.txt").is_file() for name in p)), None)
    if pair is None:
        raise DataError(f"{root} has no lists of images to train on and to test on; expected {FORMAT}")
    digest = hashlib.sha256()
    read = [_listed(root, lists / f"{name}.txt", digest) for name in pair]
    names = [sorted({name for _, objects in split for name, _, _ in objects}) for split in read]
    if not names[0]:
        raise DataError(f"{root} has no box to train on")
    if strange := sorted(set(names[1]) - set(names[0])):
        raise DataError(f"{lists / pair[0]}.txt has no box of the class {strange[0]!r}, which is to be found")
    train, test = (_images(split, names[0]) for split in read)
    return Voc(train, test, tuple(names[0]), digest.hexdigest())


Found = tuple[str, tuple[float, float, float, float], bool]


def _listed(root: Path, path: Path, digest: hashlib._Hash) -> list[tuple[Path, list[Found]]]:
    """The images of a list, each with its objects: name of the class, corners, difficult."""
    try:
        names = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not names:
        raise DataError(f"{path} names no image")
    found = []
    for name in names:
        if Path(name).name != name:
            raise DataError(f"{path} names {name!r}, which is no name of an image")
        image, annotation = root / "JPEGImages" / f"{name}.jpg", root / "Annotations" / f"{name}.xml"
        try:
            text, size = annotation.read_bytes(), image.stat().st_size
            objects = [_object(element) for element in ElementTree.fromstring(text).iter("object")]
        except (OSError, ElementTree.ParseError, ValueError) as error:
            raise DataError(f"cannot read {annotation} or its image: {error}") from error
        digest.update(f"{path.stem} {name} {size}\n".encode() + text)
        found.append((image, objects))
    return found


def _object(element: ElementTree.Element) -> Found:
    """An `object`; raises ValueError for one without a class or a box that has an extent."""
    name, texts = element.findtext("name"), [element.findtext(f"bndbox/{side}") for side in _SIDES]
    left, top, right, bottom = (float(text or "nan") for text in texts)
    # VOC counts pixels from 1, and its last pixel is inside.
    corners = (left - 1, top - 1, right, bottom)
    if not name or not (right > left - 1 and bottom > top - 1):
        raise ValueError("an object has no name, or no box")
    return name.strip(), corners, element.findtext("difficult", "0").strip() == "1"


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _images(split: Iterable[tuple[Path, list[Found]]], classes: list[str]) -> VocImages:
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    paths, boxes = [], []
    for path, objects in split:
        paths.append(path)
        boxes.append(
            Boxes(
                torch.tensor([corners for _, corners, _ in objects], dtype=torch.float32).view(-1, 4),
                torch.tensor([numbers[name] for name, _, _ in objects], dtype=torch.int64),
                torch.tensor([difficult for _, _, difficult in objects], dtype=torch.bool),
            )
        )
    return VocImages(tuple(paths), tuple(boxes))
