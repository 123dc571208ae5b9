"""Names made to do harm: of classes, of data, in paths, tables, pages and terminals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.torture.outcome import Outcome
from benchmarks.torture.process import run
from benchmarks.torture.scenes import ALONE, COMPARE, PRETRAIN, TINY

SCRIPT = "<script>alert(1)</script>"
NAMES = (
    *("..", "../x", "a/../../x", "/tmp/x", "a\nb", "-rf", "--help", "x" * 250, "x" * 300, "a\u202egnp", "=cmd()|'x'"),
    *(
        "@SUM(1)",
        "\x1b[31mred",
        SCRIPT.replace("/", ""),
        "'\"><img src=x onerror=alert(1)>",
        "a\0b",
        "CON",
        " ",
        "é\u0301",
        "%s%n",
    ),
)


def names(outcome: Outcome, root: Path, small: bool) -> None:
    """Call a class, and the data, by every one of them."""
    for name in NAMES[: 2 if small else None]:
        if can_be_a_folder(name):
            outcome.add(f"a class called {name[:30]!r}", called(root, name))
        # No word of a command line holds a NUL.
        if "\0" not in name:
            outcome.add(f"data called {name[:30]!r}", titled(root, name))


def write_images(folder: Path, classes: tuple[str, ...]) -> None:
    """Images of noise in folders of classes."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")


def can_be_a_folder(name: str) -> bool:
    """Whether a file system has such a name, so that images can lie under it."""
    return name != ".." and not {"/", "\0"} & {*name} and len(name.encode()) <= 255


def called(root: Path, name: str) -> list[str]:
    """Train and evaluate on images whose class has that name."""
    place = root / "named" / f"class-{len(list(root.glob('named/*')))}"
    place.mkdir(parents=True)
    write_images(place / "images", ("ant", name))
    images = ("--dataset", "imagefolder", "--data-dir", "images", "--seeds", "0", "--batch-size", "8", *ALONE)
    done = run((*COMPARE[:3], *TINY, *images, "--probe", "knn", "--output", "out/c"), place)
    shown = run(("eval", "--runs", "runs", "--probe", "knn", "--per-class", "--output", "t.csv"), place)
    page = run(("report", "out/c.csv", "--from", "runs", "--markdown", "--latex"), place)
    wrong = done.wrong(0, 2, 3) + ([] if done.code else [*shown.wrong(0), *page.wrong(0)])
    return wrong + harmful(place, shown.out + done.out)


def titled(root: Path, name: str) -> list[str]:
    """Give data and a table that name."""
    place = root / "named" / f"title-{len(list(root.glob('named/*')))}"
    place.mkdir(parents=True)
    write_images(place / "images", ("ant", "bee"))
    images = ("--dataset", "imagefolder", "--data-dir", "images", "--batch-size", "8", f"--data-name={name}")
    done = run((*PRETRAIN, *images), place)
    found = run(("eval", "--runs", "runs", "--probe", "knn", "--output", "t.csv"), place)
    wrong = done.wrong(0, 2, 3, 4) + ([] if done.code else found.wrong(0, 2, 3))
    return wrong + harmful(place, done.out + found.out)


def harmful(place: Path, printed: str) -> list[str]:
    """What a name has done: a file elsewhere, a formula in a table, a script in a page, a word to a terminal."""
    known = {"images", "runs", "out", "t.csv", "t-classes.csv", "t-matrix.csv", "t-images.csv", "data"}
    wrong = [f"it wrote {entry.name!r}" for entry in place.iterdir() if entry.name not in known]
    for path in place.rglob("*.csv"):
        cells = path.read_text(encoding="utf-8").replace("\n", ",").split(",")
        wrong += (
            [f"{path.name} holds a formula"]
            if any(cell.lstrip('"').startswith(("=cmd", "@SUM")) for cell in cells)
            else []
        )
    for page in place.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        wrong += [f"{page.name} holds a script"] if "<script>alert" in text or "<img src=x" in text else []
    return wrong + (["it commands the terminal"] if "\x1b[31m" in printed or "\u202e" in printed else [])
