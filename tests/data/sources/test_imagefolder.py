import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dsabench.data import load_dataset
from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import Files
from dsabench.data.sources.decoding import Deep, FileSource, decode_all
from dsabench.errors import DataError, UsageError

WriteFolder = Callable[..., None]


def test_train_and_test_folders(tmp_path: Path, write_folder: WriteFolder) -> None:
    write_folder(tmp_path, {"train": 20, "test": 4, "val": 1})
    (tmp_path / "train" / "ant" / "notes.txt").write_text("not an image")
    (tmp_path / "train" / "ant" / "._000.jpg").write_text("not an image either")
    dataset = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [54, 6, 12]
    assert dataset.classes == ("ant", "bee", "cat")
    assert (dataset.image_size, dataset.channels, dataset.scale) == (12, 3, "tiny")
    assert isinstance(dataset.test.images, torch.Tensor)
    with Image.open(tmp_path / "test" / "bee" / "001.png") as image:
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert torch.equal(dataset.test.images[5], expected)
    assert dataset.test.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    small = load_dataset(DataConfig(name="imagefolder", train_images=9, folder=str(tmp_path)))
    assert small.train.labels.bincount().tolist() == [3, 3, 3]


def test_val_serves_as_test_and_one_folder_is_split(tmp_path: Path, write_folder: WriteFolder) -> None:
    write_folder(tmp_path / "a", {"train": 20, "val": 4})
    write_folder(tmp_path / "b", {"": 25})
    write_folder(tmp_path / "c", {"train": 25})
    counts = [
        [len(s) for s in (d.train, d.val, d.test)]
        for d in (load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / name))) for name in "abc")
    ]
    assert counts == [[54, 6, 12], [54, 6, 15], [54, 6, 15]]
    split = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "b")))
    assert split.test.labels.bincount().tolist() == [5, 5, 5]
    assert split.sha256 == load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "c"))).sha256


def test_the_order_of_a_folder_listing_does_not_matter(
    tmp_path: Path, write_folder: WriteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, {"": 10})
    expected = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path))).sha256
    walk, iterdir = os.walk, Path.iterdir
    monkeypatch.setattr(os, "walk", lambda top: [(p, d[::-1], sorted(f, reverse=True)) for p, d, f in walk(top)])
    monkeypatch.setattr(Path, "iterdir", lambda self: sorted(iterdir(self), reverse=True))
    assert load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path))).sha256 == expected


def test_sizes(tmp_path: Path, write_folder: WriteFolder) -> None:
    write_folder(tmp_path / "oblong", {"": 5}, size=(40, 20))
    write_folder(tmp_path / "large", {"": 5}, size=(130, 130))
    assert load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "oblong"))).image_size == 224
    assert load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "large"))).image_size == 224
    dataset = load_dataset(DataConfig(name="imagefolder", image_size=10, folder=str(tmp_path / "oblong")))
    assert isinstance(dataset.train.images, torch.Tensor)
    assert dataset.train.images.shape[1:] == (3, 10, 10)
    with Image.open(tmp_path / "oblong" / "ant" / "001.png") as image:
        halved = np.array(image.resize((20, 10), Image.Resampling.BILINEAR))[:, 5:15]
    expected = torch.from_numpy(halved).permute(2, 0, 1)
    loaded = torch.cat(
        [s.images for s in (dataset.train, dataset.val, dataset.test) if isinstance(s.images, torch.Tensor)]
    )
    assert (loaded == expected).flatten(1).all(1).sum() == 1


def test_grey_and_transparent_images_become_rgb(tmp_path: Path, write_folder: WriteFolder) -> None:
    write_folder(tmp_path, {"train": 2, "test": 1}, classes=("a", "b"))
    Image.new("L", (12, 12), 77).save(tmp_path / "test" / "a" / "000.jpg", quality=100)
    Image.new("RGBA", (12, 12), (1, 2, 3, 0)).save(tmp_path / "test" / "b" / "x.png")
    images = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path))).test.images
    assert isinstance(images, torch.Tensor)
    assert images[0].unique().tolist() == [77]
    assert images[2, :, 0, 0].tolist() == [1, 2, 3]


def test_symbolic_links_to_files_are_followed(tmp_path: Path, write_folder: WriteFolder) -> None:
    write_folder(tmp_path / "elsewhere", {"": 4})
    write_folder(tmp_path / "data", {"": 4})
    (tmp_path / "data" / "ant" / "link.png").symlink_to(tmp_path / "elsewhere" / "ant" / "001.png")
    dataset = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "data")))
    assert sum(len(s) for s in (dataset.train, dataset.val, dataset.test)) == 13


def test_the_folder_must_be_named_and_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data-dir"):
        load_dataset("imagefolder")
    with pytest.raises(DataError, match=r"no folder .*absent"):
        load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "absent")))
    with pytest.raises(DataError, match="has 0 folders of classes"):
        load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))


def test_classes_must_agree_and_hold_images(tmp_path: Path, write_folder: WriteFolder) -> None:
    write_folder(tmp_path, {"train": 3}, classes=("ant", "bee", "cow"))
    write_folder(tmp_path, {"test": 3}, classes=("ant", "bee", "dog"))
    with pytest.raises(DataError, match=r"only in .*train: cow; only in .*test: dog"):
        load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))
    (tmp_path / "test" / "dog").rename(tmp_path / "test" / "cow")
    assert len(load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path))).classes) == 3
    for image in (tmp_path / "test" / "cow").iterdir():
        image.rename(image.with_suffix(".txt"))
    with pytest.raises(DataError, match=r"no images in .*cow"):
        load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))


def test_test_without_train_and_classes_too_small_to_split_are_refused(
    tmp_path: Path, write_folder: WriteFolder
) -> None:
    write_folder(tmp_path / "a", {"test": 3})
    with pytest.raises(DataError, match="no folder train beside it"):
        load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "a")))
    write_folder(tmp_path / "b", {"": 2})
    with pytest.raises(DataError, match=r"ant has 2 images, but a class needs 3"):
        load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "b")))
    write_folder(tmp_path / "c", {"train": 1, "test": 1})
    with pytest.raises(DataError, match=r"ant has 1 images, but a class needs 2"):
        load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path / "c")))


@pytest.mark.parametrize("image_size", [None, 12])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_an_unreadable_image_is_named(
    tmp_path: Path, write_folder: WriteFolder, suffix: str, image_size: int | None
) -> None:
    write_folder(tmp_path, {"train": 4, "test": 2})
    broken = tmp_path / "test" / "bee" / f"broken.{suffix}"
    broken.write_bytes(b"these are no pixels")
    with pytest.raises(DataError, match=rf"cannot read the image .*broken\.{suffix}"):
        load_dataset(DataConfig(name="imagefolder", image_size=image_size, folder=str(tmp_path)))
    whole = (tmp_path / "test" / "bee" / "000.jpg").read_bytes()
    broken.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match=rf"cannot read the image .*broken\.{suffix}"):
        load_dataset(DataConfig(name="imagefolder", image_size=image_size, folder=str(tmp_path)))


def decoded(folder: Path, image: Image.Image, name: str = "a.png") -> torch.Tensor:
    image.save(folder / name)
    return FileSource(Files(folder, (name,)), min(image.size)).read(torch.tensor([0]))[0]


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    pixels = np.linspace(0, 65535, 64).reshape(8, 8).round().astype(np.uint16)
    expected = torch.from_numpy((pixels / 257).round().astype(np.uint8))
    for name in ("a.png", "a.tif"):
        read = decoded(tmp_path, Image.fromarray(pixels), name)
        assert all(torch.equal(channel, expected) for channel in read)
    assert float(decoded(tmp_path, Image.fromarray(pixels)).float().mean()) == pytest.approx(127.5, abs=1)


def test_the_largest_value_of_16_bits_comes_with_the_pixels(tmp_path: Path) -> None:
    names = ("a.png", "b.png", "c.png", "broken.png")
    for name, pixels in zip(
        names, (np.full((8, 8), 700, np.uint16), np.eye(8, 9, dtype=np.uint16) * 900), strict=False
    ):
        Image.fromarray(pixels).save(tmp_path / name)
    Image.new("RGB", (8, 8), (255, 3, 4)).save(tmp_path / "c.png")
    (tmp_path / "broken.png").write_bytes(b"")
    source, unreadable = FileSource(Files(tmp_path, names), 6), []
    images, deep = decode_all(source, unreadable)
    assert deep == Deep(largest=900, count=2, first=str(tmp_path / "a.png"))
    assert len(unreadable) == 1
    assert torch.equal(images[:3], source.read(torch.arange(3)))
    assert decode_all(FileSource(Files(tmp_path, ("c.png",)), 8), [])[1] is None


def test_floating_point_pixels_are_scaled_from_0_to_1_and_others_refused(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    read = decoded(tmp_path, Image.fromarray(values), "a.tif")
    assert torch.equal(read[0], torch.from_numpy(np.rint(values * 255).astype(np.uint8)))
    for wrong in (np.nan, np.inf, 1.5, -0.1):
        broken = values.copy()
        broken[3, 3] = wrong
        with pytest.raises(DataError, match=r"a\.tif.* do not all lie in 0 to 1"):
            decoded(tmp_path, Image.fromarray(broken), "a.tif")
    with pytest.raises(DataError, match=r"a\.tif.*beyond 16 bits"):
        decoded(tmp_path, Image.fromarray(np.full((8, 8), 70_000, dtype=np.int32)), "a.tif")


@pytest.mark.parametrize("size", [(100_000, 1), (1, 100_000)])
def test_a_strip_costs_its_middle_alone(size: tuple[int, int], tmp_path: Path) -> None:
    image = Image.new("RGB", size, "black")
    image.paste((255, 0, 0), (size[0] // 2 - 2, size[1] // 2 - 2, size[0] // 2 + 2, size[1] // 2 + 2))
    image.save(tmp_path / "a.png")
    (read,) = FileSource(Files(tmp_path, ("a.png",)), 32).read(torch.tensor([0]))
    assert read.shape == (3, 32, 32)
    assert (read[0] > 0).any()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_that_is_called_an_image_is_named_and_not_waited_for(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    os.mkfifo(tmp_path / "ant" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png has the name of an image but is no file"):
        load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path)))
