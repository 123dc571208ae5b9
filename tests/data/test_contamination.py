"""Outliers in the pretraining images: which, how many, the same for everyone, and nowhere else."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dsabench.data import load_dataset, loading
from dsabench.data.data_config import DataConfig, parse_contamination
from dsabench.data.dataset import Dataset
from dsabench.data.loader import pretraining_batches
from dsabench.errors import UsageError


def load(text: str | None, **more: object) -> Dataset:
    return load_dataset(DataConfig(**{"name": "digits", "contaminate": text, **more}), offline=True)


def test_a_share_of_the_pretraining_images_is_replaced_and_nothing_else() -> None:
    plain, dirty = load(None), load("noise=0.1")
    assert plain.contaminated is None
    assert plain.pretraining is plain.train
    assert dirty.contaminated is not None
    _, replaced = dirty.contaminated
    assert int(replaced.sum()) == round(0.1 * len(plain.train))
    for name in ("train", "val", "test"):
        assert torch.equal(getattr(plain, name).images, getattr(dirty, name).images)
    assert plain.sha256 == dirty.sha256
    same = (dirty.pretraining.images == plain.train.images).flatten(1).all(dim=1)
    assert torch.equal(same, ~replaced)
    noise = dirty.pretraining.images[replaced].double()
    assert noise.mean() == pytest.approx(127.5, abs=2)
    assert noise.std() == pytest.approx(255 / 12**0.5, abs=1)


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    few, many = load("noise=0.1").contaminated, load("noise=0.3").contaminated
    assert few is not None
    assert many is not None
    assert bool((few.replaced <= many.replaced).all())
    assert torch.equal(few.split.images[few.replaced], many.split.images[few.replaced])


def test_copies_are_of_images_that_stay_and_bring_their_labels() -> None:
    plain, dirty = load(None), load("duplicates=0.2")
    assert dirty.contaminated is not None
    replaced = dirty.contaminated.replaced
    where = {image.numpy().tobytes(): int(label) for image, label in zip(*kept(plain, replaced), strict=True)}
    for image, label in zip(dirty.pretraining.images[replaced], dirty.pretraining.labels[replaced], strict=True):
        assert where[image.numpy().tobytes()] == int(label)


def kept(dataset: Dataset, replaced: Tensor) -> tuple[Tensor, Tensor]:
    return dataset.train.images[~replaced], dataset.train.labels[~replaced]


def test_foreign_images_have_the_size_and_the_channels_of_the_others() -> None:
    grey = load("foreign=synthetic:0.1,noise=0.05")
    assert grey.contaminated is not None
    assert int(grey.contaminated.replaced.sum()) == round(0.1 * 1294) + round(0.05 * 1294)
    assert grey.pretraining.images.shape == grey.train.images.shape
    colour = load("foreign=digits:0.25", name="synthetic")
    assert colour.contaminated is not None
    strange = colour.pretraining.images[colour.contaminated.replaced]
    assert bool((strange[:, 0] == strange[:, 2]).all())
    digits = {image.numpy().tobytes() for image in load(None, image_size=16).train.images}
    assert all(image[:1].contiguous().numpy().tobytes() in digits for image in strange)


def test_images_that_stream_are_replaced_when_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(12):
                pixels = draw.integers(0, 256, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    more = {"name": "imagefolder", "folder": str(tmp_path), "image_size": 8}
    resident = load("noise=0.2,duplicates=0.1", **more)
    monkeypatch.setattr(loading, "RESIDENT_BYTES", 0)
    streamed = load("noise=0.2,duplicates=0.1", **more)
    images = streamed.pretraining.images
    assert not isinstance(images, Tensor)
    everything = torch.arange(len(streamed.train))
    assert torch.equal(images.read(everything), resident.pretraining.images)
    # Workers are sent a copy.
    assert torch.equal(pickle.loads(pickle.dumps(images)).read(everything), resident.pretraining.images)
    (batch,) = pretraining_batches(streamed, "digits", batch_size=99, seed=0, epoch=0, device="cpu")
    assert batch.anchor.shape == (len(streamed.train), 3, 8, 8)


def test_its_text_is_canonical_and_part_of_the_identity() -> None:
    said = parse_contamination(" foreign=synthetic:0.10, noise=.05,duplicates=0")
    assert str(said) == "noise=0.05,foreign=synthetic:0.1"
    assert parse_contamination(str(said)) == said
    assert not str(parse_contamination("noise=0"))
    assert "contaminate" not in DataConfig().identity()
    assert DataConfig(contaminate="noise=0.1").identity()["contaminate"] == "noise=0.1"
    assert DataConfig(contaminate="noise=0.1").trained_on == "digits, noise=0.1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nose=0.1", "did you mean 'noise'"),
        ("noise=0.6", "expected a share"),
        ("noise=nan", "expected a share"),
        ("noise", "expected a share"),
        ("noise=0.1,noise=0.2", "noise twice"),
        ("noise=0.3,duplicates=0.3", "more than half"),
        ("foreign=0.1", "unknown dataset ''"),
        ("foreign=cifar11:0.1", "did you mean 'cifar10'"),
        ("foreign=imagefolder:0.1", "unknown dataset"),
        ("foreign=csv:0.1", "unknown dataset"),
    ],
)
def test_what_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_contamination(text)


def test_too_few_foreign_images_are_refused() -> None:
    with pytest.raises(UsageError, match="synthetic has 256 training images, 647 are to be put in"):
        load("foreign=synthetic:0.5")
