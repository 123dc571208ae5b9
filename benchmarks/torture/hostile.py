"""Files and names made to do harm: pickles where anything is read, archives that lead elsewhere, names that are more."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.torture.outcome import Outcome
from benchmarks.torture.process import run, start_call
from benchmarks.torture.scenes import ALONE, COMPARE, PRETRAIN, TINY, TUNE
from dsabench.data.sources.archives import unpack
from dsabench.errors import DataError

CANARY = "canary"
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


def hostile(outcome: Outcome, root: Path, small: bool) -> None:
    """Let every file that a command reads be a trap."""
    place = root / "place"
    place.mkdir()
    prepare(place)
    for name, payload in list(payloads(place / CANARY))[: 2 if small else None]:
        for path, words in readers(place):
            outcome.add(f"{name} in {path.relative_to(place)}", sprung(place, path, payload, words))
    for name, make in list(ARCHIVES.items())[: 2 if small else None]:
        outcome.add(f"an archive with {name}", unpacked(root / "archives", name, make))
    for name in NAMES[: 2 if small else None]:
        outcome.add(f"a class called {name[:30]!r}", called(root, name))
        outcome.add(f"data called {name[:30]!r}", titled(root, name))


def prepare(place: Path) -> None:
    """A store with a comparison and a search, and one of each file that a command takes."""
    for words in ((*COMPARE, *ALONE), TUNE):
        done = run(words, place)
        if done.code:
            raise RuntimeError(f"{words}: {done}")
    write_images(place / "images", ("ant", "bee"))
    numbers, classes = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32), np.arange(40) % 2
    np.savez(place / "e.npz", x=numbers, y=classes)
    (place / "folder").mkdir()
    for name, values in (("x", numbers), ("y", classes)):
        np.save(place / "folder" / f"{name}.npy", values)
    (place / "labels.csv").write_text("file,label\n" + "".join(f"{row},{row % 2}\n" for row in range(40)))
    (place / "flags.toml").write_text("seed = 0\n")
    (place / "space.toml").write_text("[simclr]\n")


def readers(place: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Every file that is read, with the command that reads it."""
    folder = next(place.glob("runs/synthetic/simclr+dsa/*"))
    name = str(folder.relative_to(place))
    probes = ("--probe", "knn", "--probe", "cdnv")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in (".lock", "config.toml"):
            yield path, ("eval", name, *probes)
    yield folder / "config.toml", ("pretrain", "--config", f"{name}/config.toml", "--dry-run")
    yield next(place.glob("runs/declarations/*")), (*COMPARE, *ALONE)
    yield next(place.glob("runs/tuning/*.log")), TUNE
    yield place / "out" / "c.csv", ("report", "out/c.csv")
    yield place / "e.npz", ("eval", "--features", "e.npz", *probes)
    yield place / "folder" / "x.npy", ("eval", "--features", "folder", *probes)
    yield place / "labels.csv", ("eval", "--features", "e.npz", "--labels", "labels.csv", *probes)
    for ending in ("pth", "safetensors", "ckpt"):
        source = ("--checkpoint", f"w.{ending}", "--backbone", "resnet8w16", "--preprocess", "unit[image_size=8]")
        yield place / f"w.{ending}", ("eval", *source, "--dataset", "synthetic", "--image-size", "8", *probes)
    yield place / "e.parquet", ("eval", "--features", "e.parquet", *probes)
    yield place / "e.safetensors", ("eval", "--features", "e.safetensors", *probes)
    images = ("--dataset", "imagefolder", "--data-dir", "images")
    yield place / "images" / "train" / "ant" / "0.png", ("doctor", *images)
    yield place / "table.csv", ("doctor", "--dataset", "csv:table.csv")
    yield place / "part.tar", ("doctor", "--dataset", "wds:part.tar")
    batch = place / "data" / "cifar-10-batches-py" / "data_batch_1"
    yield batch, ("doctor", "--dataset", "cifar10", "--offline")
    yield place / "data" / "svhn" / "train_32x32.mat", ("doctor", "--dataset", "svhn", "--offline")
    yield place / "flags.toml", ("pretrain", *TINY, "--config", "flags.toml", "--dry-run")
    yield place / "space.toml", (*TUNE, "--space", "space.toml")


class Trap:
    """What writes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.canary, "w")


def payloads(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Ten files that run code where a pickle is loaded."""
    trap = Trap(canary)
    for protocol in (0, 2, 4):
        yield f"a pickle of protocol {protocol}", pickle.dumps(trap, protocol)
    yield "a pickle behind gzip", gzip.compress(pickle.dumps(trap))
    yield "a pickle behind bzip2", bz2.compress(pickle.dumps(trap))
    for name, zipped in (("new", True), ("old", False)):
        file = io.BytesIO()
        torch.save({"state_dict": trap}, file, _use_new_zipfile_serialization=zipped)
        yield f"a checkpoint of torch, {name}", file.getvalue()
    array = np.empty(1, dtype=object)
    array[0] = trap
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    yield "an array of objects", file.getvalue()
    file = io.BytesIO()
    np.savez(file, x=array, y=array)
    yield "arrays of objects in a zip", file.getvalue()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member in ("0.pkl", "0.pyd", "0.pth"):
            info = tarfile.TarInfo(member)
            info.size = len(pickle.dumps(trap))
            archive.addfile(info, io.BytesIO(pickle.dumps(trap)))
    yield "a tar of pickles", file.getvalue()


def sprung(place: Path, path: Path, payload: bytes, words: tuple[str, ...]) -> list[str]:
    """Read a trap: nothing may run, and the error is one."""
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(payload)
    canary = place / CANARY
    try:
        done = run(words, place)
        wrong = done.wrong()
        # What is derived is made again; all else is refused.
        if canary.exists():
            wrong.append("the code in it ran")
            canary.unlink()
        return wrong
    finally:
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)


def tar_with(name: str, kind: bytes = tarfile.REGTYPE, size: int = 1, link: str = "", times: int = 1) -> bytes:
    """A tar whose last member is a trap."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for number in range(times):
            info = tarfile.TarInfo(name if times == 1 else f"{name}{number}")
            info.type, info.linkname, info.size = kind, link, size if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(bytes(info.size)) if info.size else None)
    return file.getvalue()


def zip_with(name: str, size: int = 1, mode: int = stat.S_IFREG | 0o644, times: int = 1, lie: int = 0) -> bytes:
    """A zip whose last member is a trap; with `lie` its index names that size."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(times):
            info = zipfile.ZipInfo(name if times == 1 else f"{name}{number}")
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, bytes(size))
        if lie:
            archive.filelist[-1].file_size = lie
    return file.getvalue()


def corrupt(content: bytes) -> bytes:
    """An archive whose index is right and whose content is not."""
    middle = len(content) // 3
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 64]) + content[middle + 64 :]


NOISE = np.random.default_rng(1).bytes(20_000)


def noisy_zip() -> bytes:
    """A zip of what cannot be compressed, with its content damaged."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", NOISE)
    return corrupt(file.getvalue())


MIB = 2**20
ARCHIVES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a path that leads out": ("a.tar.gz", lambda: tar_with("../outside")),
    "a path that leads out and in": ("a.tar.gz", lambda: tar_with("a/../../outside")),
    "an absolute path": ("a.tar.gz", lambda: tar_with("/tmp/torture-outside")),
    "a symbolic link": ("a.tar.gz", lambda: tar_with("link", tarfile.SYMTYPE, link="/etc")),
    "a hard link": ("a.tar.gz", lambda: tar_with("link", tarfile.LNKTYPE, link="/etc/passwd")),
    "a device": ("a.tar.gz", lambda: tar_with("null", tarfile.CHRTYPE)),
    "a FIFO": ("a.tar.gz", lambda: tar_with("fifo", tarfile.FIFOTYPE)),
    "a name of 300 characters": ("a.tar.gz", lambda: tar_with("x" * 300)),
    "a bomb by ratio": ("a.tar.gz", lambda: tar_with("zeros", size=64 * MIB)),
    "damaged content": ("a.tar.gz", lambda: corrupt(gzip.compress(NOISE))),
    "a path that leads out of a zip": ("a.zip", lambda: zip_with("../outside")),
    "a link in a zip": ("a.zip", lambda: zip_with("link", mode=stat.S_IFLNK | 0o777)),
    "a zip bomb by ratio": ("a.zip", lambda: zip_with("zeros", 64 * MIB)),
    "a zip bomb by count": ("a.zip", lambda: zip_with("zeros", 4 * MIB, times=40)),
    "a zip that lies about sizes": ("a.zip", lambda: zip_with("zeros", 64 * MIB, lie=10)),
    "a zip with damaged content": ("a.zip", noisy_zip),
    "a gzip bomb": ("a.gz", lambda: gzip.compress(bytes(64 * MIB))),
    "a gzip cut short": ("a.gz", lambda: gzip.compress(NOISE)[:9000]),
    "damaged gzip": ("a.gz", lambda: corrupt(gzip.compress(NOISE))),
}


def unpacked(folder: Path, name: str, made: tuple[str, Callable[[], bytes]]) -> list[str]:
    """Unpack a trap: refused by name, nothing beside the folder, and not much in it."""
    place = folder / name.replace(" ", "-")
    place.mkdir(parents=True)
    path = place / made[0]
    path.write_bytes(made[1]())

    def body() -> int:
        try:
            unpack(path, place / "into")
        except DataError as error:
            return 3 if str(path) in str(error) else 1
        return 0

    done = start_call(body, place).end()
    wrong = done.wrong(3)
    beside = {entry.name for entry in place.iterdir()} - {path.name, "into"}
    inside = sum(entry.stat().st_size for entry in place.rglob("into/**/*") if entry.is_file())
    wrong += [f"it wrote {sorted(beside)}"] if beside else []
    return wrong + ([f"it wrote {inside / MIB:.0f} MiB"] if inside > 32 * MIB else [])


def write_images(folder: Path, classes: tuple[str, ...]) -> None:
    """Images of noise in folders of classes."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")


def called(root: Path, name: str) -> list[str]:
    """Train and evaluate on images whose class has that name."""
    place = root / "named" / f"class-{len(list(root.glob('named/*')))}"
    place.mkdir(parents=True)
    try:
        write_images(place / "images", ("ant", name))
    except (OSError, ValueError):
        # No file system has such a name.
        return []
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
    if "\0" in name:
        # No word of a command line holds it.
        return []
    images = ("--dataset", "imagefolder", "--data-dir", "images", "--batch-size", "8", f"--data-name={name}")
    done = run((*PRETRAIN, *images), place)
    found = run(("eval", "--runs", "runs", "--probe", "knn", "--output", "t.csv"), place)
    wrong = done.wrong(0, 2, 3, 4) + ([] if done.code else found.wrong(0, 2, 3))
    return wrong + harmful(place, done.out + found.out)


def harmful(place: Path, printed: str) -> list[str]:
    """What a hostile name has done: a file elsewhere, a formula in a table, a script in a page, a word to a terminal."""
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
