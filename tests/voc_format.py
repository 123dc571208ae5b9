"""A small data set in the format of VOC, generated: bright squares (`dot`) and flat bars (`bar`) on a dark ground."""

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64


def write_voc(
    root: Path, *, train: int, test: int, names: tuple[str, str] = ("trainval", "test"), shift: int = 0
) -> None:
    """Write so many images for each list, each with a dot and a bar, whose places a fixed draw gives."""
    draw = np.random.default_rng(0)
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    numbers = iter(range(1, 1 + train + test))
    for name, count in zip(names, (train, test), strict=True):
        listed = []
        for _ in range(count):
            number = f"{next(numbers):06d}"
            listed.append(number)
            pixels = draw.integers(0, 30, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            objects = []
            for kind, (height, width), columns in (("dot", (16, 16), (4, 14)), ("bar", (8, 24), (36, 40))):
                left, top = int(draw.integers(*columns)), int(draw.integers(4, 24)) + shift
                pixels[top : top + height, left : left + width] = 240
                corners = (left + 1, top + 1, left + width, top + height)
                sides = "".join(f"<{side}>{x}</{side}>" for side, x in zip(SIDES, corners, strict=True))
                objects.append(f"<object><name>{kind}</name><difficult>0</difficult><bndbox>{sides}</bndbox></object>")
            Image.fromarray(pixels).save(root / "JPEGImages" / f"{number}.jpg", quality=95)
            (root / "Annotations" / f"{number}.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(listed) + "\n")


SIDES = ("xmin", "ymin", "xmax", "ymax")
