from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dsabench.data import load_dataset, loading
from dsabench.data.data_config import DataConfig
from dsabench.data.duplicates import equal, flat, perceptual_keys, pixel_keys
from dsabench.data.examination import examine
from dsabench.errors import DataError


def scenes(count: int, side: int = 40) -> torch.Tensor:
    """Smooth random images: what survives compression and scaling."""
    small = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    big = torch.nn.functional.interpolate(small, size=(side, side), mode="bicubic", align_corners=False)
    return (big.clamp(0, 1) * 255).to(torch.uint8)


def test_the_perceptual_hash_outlives_size_compression_and_brightness(tmp_path: Path) -> None:
    images = scenes(20)
    keys = perceptual_keys(images)
    assert len(set(keys)) == 20

    def distance(a: bytes, b: bytes) -> int:
        return (int.from_bytes(a) ^ int.from_bytes(b)).bit_count()

    larger = torch.nn.functional.interpolate(images.float(), scale_factor=2, mode="bilinear").to(torch.uint8)
    darker = (images.float() * 0.9).to(torch.uint8)
    compressed = []
    for image in images:
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "a.jpg", quality=85)
        with Image.open(tmp_path / "a.jpg") as opened:
            compressed.append(torch.from_numpy(np.array(opened)).permute(2, 0, 1))
    for changed in (larger, darker, torch.stack(compressed)):
        moved = [distance(a, b) for a, b in zip(keys, perceptual_keys(changed), strict=True)]
        assert np.median(moved) <= 2
    others = [distance(a, b) for a, b in pairwise(keys)]
    assert min(others) > 10
    grey = images.float().mean(1, keepdim=True).to(torch.uint8)
    assert perceptual_keys(grey) == perceptual_keys(grey.expand(-1, 3, -1, -1).contiguous())


def test_equal_keys_are_counted_within_and_across() -> None:
    twins = equal({"train": [b"a", b"a", b"b", b"c"], "test": [b"a", b"c", b"d", b"d", b"d"]})
    assert (twins.within("train"), twins.within("test")) == (1, 2)
    assert (twins.across("test", "train"), twins.across("train", "test")) == (2, 3)


def test_pixels_and_flat_images() -> None:
    images = scenes(3)
    images[2] = 77
    assert flat(images).tolist() == [False, False, True]
    changed = images.clone()
    changed[0, 0, 0, 0] += 1
    assert [a == b for a, b in zip(pixel_keys(images), pixel_keys(changed), strict=True)] == [False, True, True]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of different brightness; one test image is a copy of a training image, one is flat."""
    images = scenes(40, 16)
    for split, start, count in (("train", 0, 30), ("test", 30, 10)):
        for k in range(count):
            image = images[start + k] // 2 + 120 * (k % 2)
            path = tmp_path / split / ("dark", "light")[k % 2] / f"{k:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    for k in range(4):
        source = tmp_path / "train" / "dark" / f"{2 * k:02d}.png"
        (tmp_path / "test" / "dark" / f"copy{k}.png").write_bytes(source.read_bytes())
    Image.new("L", (16, 16), 5).save(tmp_path / "test" / "dark" / "flat.png")
    Image.new("L", (16, 16), 9).save(tmp_path / "test" / "dark" / "flat2.png")
    return tmp_path


def test_what_is_found_in_a_folder(folder: Path) -> None:
    dataset = load_dataset(DataConfig(name="imagefolder", folder=str(folder)))
    found = examine(dataset)
    assert found.counts == {"train": 27, "val": 3, "test": 16}
    assert found.balance["test"] == (11, 5)
    assert found.largest_share == pytest.approx(11 / 16)
    assert found.exact.across("test", "train") + found.exact.across("test", "val") == 4
    assert found.perceptual.across("test", "train") + found.perceptual.across("test", "val") == 4
    assert found.perceptual.within("test") == 0
    assert (found.sizes, found.modes) == ({(16, 16): 46}, {"RGB": 44, "L": 2})
    images = dataset.train.images
    assert isinstance(images, torch.Tensor)
    pixels = images.double().div(255)
    assert found.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    assert found.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist())
    assert found.floor > 0.9


def test_all_that_cannot_be_read_of_images_that_stream_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "RESIDENT_BYTES", 0)
    broken = [folder / "train" / "dark" / "00.png", folder / "test" / "light" / "01.png"]
    for path in broken:
        # The header is whole, so that what lists sizes takes it for an image.
        path.write_bytes(path.read_bytes()[:-60])
    dataset = load_dataset(DataConfig(name="imagefolder", folder=str(folder)))
    with pytest.raises(DataError, match="2 images cannot be read; repair or remove them") as caught:
        examine(dataset)
    assert all(str(path) in str(caught.value) for path in broken)


def test_the_floor_of_digits_is_that_of_the_published_table() -> None:
    found = examine(load_dataset("digits"))
    # kNN of raw pixels on digits, as results/digits.csv has it for its 1,294 training images, is near 96.9%.
    assert found.floor == pytest.approx(0.969, abs=0.01)
    assert found.shuffled < 0.2
    assert (found.sizes, found.exact.groups) == ({}, ())
