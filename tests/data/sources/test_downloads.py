import os
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision import datasets
from torchvision.datasets import cifar, stl10

from dsabench.data import load_dataset
from dsabench.data.data_config import DataConfig
from dsabench.errors import DataError, StorageError

FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python", "stl10": "stl10_binary"}


@pytest.fixture(autouse=True)
def _any_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    def exists(path: str, md5: str) -> bool:
        return os.path.isfile(path)

    monkeypatch.setattr(cifar, "check_integrity", exists)
    monkeypatch.setattr(stl10, "check_integrity", exists)


def dump(path: Path, content: dict[str, object]) -> None:
    path.write_bytes(pickle.dumps(content))


def fabricate(root: Path, name: str) -> torch.Tensor:
    """Files in the original formats; the red channel's first pixel is the label. Returns the test images."""
    folder = root / FOLDERS[name]
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    side = 96 if name == "stl10" else 32
    n_classes = 100 if name == "cifar100" else 10

    def images(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % n_classes
        pixels = draw.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
        pixels[:, 0, 0, 0] = labels
        return pixels, labels

    if name == "cifar10":
        for batch in range(1, 6):
            pixels, labels = images(20)
            dump(folder / f"data_batch_{batch}", {"data": pixels.reshape(20, -1), "labels": labels.tolist()})
        test, labels = images(20)
        dump(folder / "test_batch", {"data": test.reshape(20, -1), "labels": labels.tolist()})
        dump(folder / "batches.meta", {"label_names": [f"class {k}" for k in range(10)]})
    elif name == "cifar100":
        for split, count in (("train", 1000), ("test", 100)):
            test, labels = images(count)
            dump(folder / split, {"data": test.reshape(count, -1), "fine_labels": labels.tolist()})
        dump(folder / "meta", {"fine_label_names": [f"class {k}" for k in range(100)]})
    else:
        for split, count in (("train", 100), ("test", 20)):
            test, labels = images(count)
            # Column by column, and labels from 1: as the original is.
            test.transpose(0, 1, 3, 2).tofile(folder / f"{split}_X.bin")
            (labels + 1).astype(np.uint8).tofile(folder / f"{split}_y.bin")
        (folder / "class_names.txt").write_text("\n".join(f"class {k}" for k in range(10)) + "\n")
    return torch.from_numpy(test)


@pytest.mark.parametrize(
    ("name", "counts"), [("cifar10", (90, 10, 20)), ("cifar100", (900, 100, 100)), ("stl10", (90, 10, 20))]
)
def test_files_in_the_original_format(tmp_path: Path, name: str, counts: tuple[int, int, int]) -> None:
    test_images = fabricate(tmp_path, name)
    dataset = load_dataset(DataConfig(name=name, folder=str(tmp_path)), offline=True)
    assert tuple(len(s) for s in (dataset.train, dataset.val, dataset.test)) == counts
    assert dataset.image_size == (96 if name == "stl10" else 32)
    assert dataset.scale == "small"
    assert dataset.classes[9] == "class 9"
    for split in (dataset.train, dataset.val, dataset.test):
        assert isinstance(split.images, torch.Tensor)
        assert split.labels.dtype == torch.int64
        assert torch.equal(split.images[:, 0, 0, 0].long(), split.labels)
        assert split.labels.bincount().unique().numel() == 1
    assert isinstance(dataset.test.images, torch.Tensor)
    assert torch.equal(dataset.test.images, test_images)


@pytest.mark.parametrize("name", FOLDERS)
def test_offline_says_where_it_looked(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path / FOLDERS[name]} and --offline forbids"):
        load_dataset(DataConfig(name=name, folder=str(tmp_path)), offline=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FOLDERS)
def test_a_missing_set_is_downloaded_once(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def fetch(url: str, root: str, filename: str, md5: str) -> None:
        fetched.append(url)
        fabricate(Path(root), name)

    monkeypatch.setattr(cifar, "download_and_extract_archive", fetch)
    monkeypatch.setattr(stl10, "download_and_extract_archive", fetch)
    first = load_dataset(DataConfig(name=name, folder=str(tmp_path / "new")))
    assert load_dataset(DataConfig(name=name, folder=str(tmp_path / "new"))).sha256 == first.sha256
    source = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "stl10": datasets.STL10}[name]
    assert fetched == [source.url]


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (URLError("no route"), DataError),
        (RuntimeError("File not found or corrupted."), DataError),
        (PermissionError("denied"), StorageError),
    ],
)
def test_failed_downloads(
    tmp_path: Path, failure: Exception, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(url: str, root: str, filename: str, md5: str) -> None:
        raise failure

    monkeypatch.setattr(cifar, "download_and_extract_archive", fetch)
    with pytest.raises(error, match=r"CIFAR10 into .*"):
        load_dataset(DataConfig(name="cifar10", folder=str(tmp_path)))
