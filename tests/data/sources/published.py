"""Tiny archives in the layouts of the published sets, and a server on this machine that they are downloaded from."""

import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

DRAW = np.random.default_rng(0)


def pixels(labels: np.ndarray, side: int, channels: int = 3) -> np.ndarray:
    """Noise (N, C, side, side) whose first pixel is the label."""
    images = DRAW.integers(0, 256, (len(labels), channels, side, side), dtype=np.uint8)
    images[:, 0, 0, 0] = labels
    return images


def picture(label: int, kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    """An image file of one grey, which says its label."""
    file = io.BytesIO()
    Image.new("RGB", size, (label, label, label)).save(file, kind, **({"quality": 100} if kind == "JPEG" else {}))
    return file.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def mat(**values: object) -> bytes:
    out = io.BytesIO()
    savemat(out, values)
    return out.getvalue()


def cifar10() -> dict[str, bytes]:
    files = {}
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        labels = np.arange(20) % 10
        files[name] = pickle.dumps({"data": pixels(labels, 32).reshape(20, -1), "labels": labels.tolist()})
    files["batches.meta"] = pickle.dumps({"label_names": [f"class {k}" for k in range(10)]})
    return {"cifar-10-python.tar.gz": tarred({f"cifar-10-batches-py/{k}": v for k, v in files.items()})}


def cifar100() -> dict[str, bytes]:
    files = {}
    for split, count in (("train", 1000), ("test", 100)):
        labels = np.arange(count) % 100
        files[split] = pickle.dumps({"data": pixels(labels, 32).reshape(count, -1), "fine_labels": labels.tolist()})
    files["meta"] = pickle.dumps({"fine_label_names": [f"class {k}" for k in range(100)]})
    return {"cifar-100-python.tar.gz": tarred({f"cifar-100-python/{k}": v for k, v in files.items()})}


def stl10() -> dict[str, bytes]:
    files = {"class_names.txt": "\n".join(f"class {k}" for k in range(10)).encode() + b"\n"}
    for split, count in (("train", 50), ("test", 20)):
        labels = np.arange(count) % 10
        # Column by column, and labels from 1: as the original is.
        files[f"{split}_X.bin"] = pixels(labels, 96).transpose(0, 1, 3, 2).tobytes()
        files[f"{split}_y.bin"] = (labels + 1).astype(np.uint8).tobytes()
    return {"stl10_binary.tar.gz": tarred({f"stl10_binary/{k}": v for k, v in files.items()})}


def mnist() -> dict[str, bytes]:
    files = {}
    for split, count in (("train", 100), ("t10k", 20)):
        labels = np.arange(count) % 10
        images = pixels(labels, 28, 1)[:, 0]
        files[f"{split}-images-idx3-ubyte.gz"] = gzip.compress(
            struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes()
        )
        files[f"{split}-labels-idx1-ubyte.gz"] = gzip.compress(
            struct.pack(">II", 2049, count) + labels.astype(np.uint8).tobytes()
        )
    return files


def svhn() -> dict[str, bytes]:
    files = {}
    for split, count in (("train", 100), ("test", 20)):
        labels = np.arange(count) % 10
        # Images last, and 10 for the digit 0.
        y = np.where(labels == 0, 10, labels)[:, None]
        files[f"{split}_32x32.mat"] = mat(X=pixels(labels, 32).transpose(2, 3, 1, 0), y=y)
    return files


def gtsrb() -> dict[str, bytes]:
    train = {
        f"GTSRB/Training/{label:05d}/{track:05d}_{frame:05d}.ppm": picture(label, "PPM", (20 + frame, 25))
        for label in range(43)
        for track in range(2)
        for frame in range(2)
    }
    test = {f"GTSRB/Final_Test/Images/{label:05d}.ppm": picture(label, "PPM") for label in range(43)}
    lines = [f"{label:05d}.ppm;40;30;5;5;35;25;{label}" for label in range(43)]
    truth = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n" + "\n".join(lines) + "\n"
    return {
        "GTSRB-Training_fixed.zip": zipped(train),
        "GTSRB_Final_Test_Images.zip": zipped(test),
        "GTSRB_Final_Test_GT.zip": zipped({"GT-final_test.csv": truth.encode()}),
    }


def eurosat() -> dict[str, bytes]:
    names = ("AnnualCrop", "Forest", "River")
    files = {
        f"2750/{name}/{name}_{k}.jpg": picture(label, "JPEG", (64, 64))
        for label, name in enumerate(names)
        for k in range(10)
    }
    return {"EuroSAT.zip": zipped(files)}


def food101() -> dict[str, bytes]:
    names = ("apple_pie", "waffles")
    files, meta = {}, {"train": {}, "test": {}}  # type: ignore[var-annotated]
    for label, name in enumerate(names):
        for k in range(8):
            files[f"food-101/images/{name}/{k}.jpg"] = picture(label, "JPEG")
            meta["train" if k < 6 else "test"].setdefault(name, []).append(f"{name}/{k}")
    files |= {f"food-101/meta/{split}.json": json.dumps(of).encode() for split, of in meta.items()}
    return {"food-101.tar.gz": tarred(files)}


def flowers102() -> dict[str, bytes]:
    labels = np.arange(408) % 102
    files = {f"jpg/image_{k + 1:05d}.jpg": picture(int(label), "JPEG") for k, label in enumerate(labels)}
    ids = np.arange(408) + 1
    return {
        "102flowers.tgz": tarred(files),
        "imagelabels.mat": mat(labels=labels + 1),
        "setid.mat": mat(trnid=ids[:102], valid=ids[102:204], tstid=ids[204:]),
    }


def pets() -> dict[str, bytes]:
    names = ("Abyssinian", "american_bulldog", "Bengal")
    images, lists = {}, {"trainval": "", "test": ""}
    for label, name in enumerate(names):
        for k in range(6):
            images[f"images/{name}_{k}.jpg"] = picture(label, "JPEG")
            lists["trainval" if k < 4 else "test"] += f"{name}_{k} {label + 1} 1 1\n"
    notes = {f"annotations/{split}.txt": text.encode() for split, text in lists.items()}
    return {"images.tar.gz": tarred(images), "annotations.tar.gz": tarred(notes)}


def dtd() -> dict[str, bytes]:
    files, lists = {}, {"train1": "", "val1": "", "test1": ""}
    for label, name in enumerate(("banded", "dotted", "zigzagged")):
        for k in range(6):
            files[f"dtd/images/{name}/{name}_{k:04d}.jpg"] = picture(label, "JPEG")
            lists[("train1", "val1", "test1")[k % 3]] += f"{name}/{name}_{k:04d}.jpg\n"
    files |= {f"dtd/labels/{split}.txt": text.encode() for split, text in lists.items()}
    return {"dtd-r1.0.1.tar.gz": tarred(files)}


def tiny_imagenet() -> dict[str, bytes]:
    names = ("n02", "n01", "n03")
    order = sorted(names)
    files = {"wnids.txt": "\n".join(names).encode(), "val/val_annotations.txt": b"", "test/images/test_0.JPEG": b"?"}
    for name in names:
        for k in range(5):
            files[f"train/{name}/images/{name}_{k}.JPEG"] = picture(order.index(name), "JPEG", (64, 64))
        files[f"val/images/val_{name}.JPEG"] = picture(order.index(name), "JPEG", (64, 64))
        files["val/val_annotations.txt"] += f"val_{name}.JPEG\t{name}\t0\t0\t62\t62\n".encode()
    return {"tiny-imagenet-200.zip": zipped({f"tiny-imagenet-200/{k}": v for k, v in files.items()})}


# Archives by name, and how many images there are in train, val and test when loaded.
SETS: dict[str, tuple[Callable[[], dict[str, bytes]], tuple[int, int, int]]] = {
    "cifar10": (cifar10, (90, 10, 20)),
    "cifar100": (cifar100, (900, 100, 100)),
    "stl10": (stl10, (40, 10, 20)),
    "mnist": (mnist, (90, 10, 20)),
    "fashion_mnist": (mnist, (90, 10, 20)),
    "svhn": (svhn, (90, 10, 20)),
    "gtsrb": (gtsrb, (86, 86, 43)),
    "eurosat": (eurosat, (21, 3, 6)),
    "food101": (food101, (10, 2, 4)),
    "flowers102": (flowers102, (102, 102, 204)),
    "pets": (pets, (9, 3, 6)),
    "dtd": (dtd, (6, 6, 6)),
    "tiny_imagenet": (tiny_imagenet, (12, 3, 3)),
}


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The files of a folder at an address of this machine, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            asked.append(self.path.lstrip("/"))

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/", asked
        finally:
            server.shutdown()
            thread.join()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()
