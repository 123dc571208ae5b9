"""Pickles that run code, in the place of every file that a command reads."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.torture.names import write_images
from benchmarks.torture.outcome import Outcome
from benchmarks.torture.process import run
from benchmarks.torture.scenes import ALONE, COMPARE, TINY, TUNE

CANARY = "canary"


def pickles(outcome: Outcome, root: Path, small: bool) -> None:
    """Let every file that a command reads be a trap."""
    place = root / "place"
    place.mkdir()
    prepare(place)
    for name, payload in list(payloads(place / CANARY))[: 2 if small else None]:
        for path, words in readers(place):
            outcome.add(f"{name} in {path.relative_to(place)}", sprung(place, path, payload, words))


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
        if path.is_file() and path.name != "config.toml" and not path.name.startswith(".claim-"):
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
