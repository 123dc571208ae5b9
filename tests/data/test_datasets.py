import subprocess
import sys

import pytest
import torch
from sklearn.datasets import load_digits

from dsabench.config.request import USERS_OWN
from dsabench.data import DATASETS, load_dataset
from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import Dataset, DatasetSpec
from dsabench.errors import UsageError
from dsabench.registry import load


def pixels(dataset: Dataset) -> dict[str, torch.Tensor]:
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    return {name: split.images for name, split in splits.items() if isinstance(split.images, torch.Tensor)}


def test_listing_imports_neither_torch_nor_timm() -> None:
    imports = "import sys, dsabench.data, dsabench.data.views.policies, dsabench.backbones"
    code = f"{imports}; print({{'torch', 'timm'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", DATASETS)
def test_every_entry_is_a_consistent_declaration(name: str) -> None:
    spec = load(DATASETS, "dataset", name)
    assert isinstance(spec, DatasetSpec)
    assert spec.name == name
    assert len(spec.mean) == len(spec.std) == spec.channels
    assert (spec.image_size is None) == (name in USERS_OWN)


def test_digits_are_scikit_learns_split_into_disjoint_strata() -> None:
    dataset = load_dataset("digits")
    parts = pixels(dataset)
    assert {name: len(part) for name, part in parts.items()} == {"train": 1294, "val": 144, "test": 359}
    assert (dataset.channels, dataset.image_size, dataset.scale) == (1, 8, "tiny")
    # Every image of scikit-learn's is in one split, under its own label. (No two of them are alike.)
    bunch = load_digits()
    source = {
        (image * 255 / 16).round().astype("uint8").tobytes(): int(y)
        for image, y in zip(bunch.images, bunch.target, strict=True)
    }
    ours: dict[bytes, int] = {}
    for name, split in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test)):
        ours |= {image.numpy().tobytes(): int(y) for image, y in zip(parts[name], split.labels, strict=True)}
        share = split.labels.bincount() / len(split.labels)
        everywhere = torch.from_numpy(bunch.target).bincount() / 1797
        assert (share - everywhere).abs().max() < 1 / len(split.labels)
    assert len(source) == 1797
    assert ours == source
    unit = parts["train"] / 255
    assert abs(float(unit.mean()) - dataset.mean[0]) < 1e-4
    assert abs(float(unit.std()) - dataset.std[0]) < 1e-4


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("digits", "5183d16828e9c38e57619fa37c59c358ce9e248c706bd56f89d1fd27c5b2ac1e"),
        ("synthetic", "ce8954deef66734713a482660a0e4a7de11a355995e4dc39cce32a06fde8794b"),
    ],
)
def test_content_and_splits_never_change(name: str, sha256: str) -> None:
    assert load_dataset(name).sha256 == sha256
    torch.manual_seed(5)
    assert load_dataset(name).sha256 == sha256
    assert load_dataset(DataConfig(name=name, train_images=100)).sha256 != sha256


def test_a_subset_is_stratified_and_leaves_validation_and_test_alone() -> None:
    whole, part = load_dataset("digits"), load_dataset(DataConfig(name="digits", train_images=200))
    assert part.train.labels.bincount().tolist() == [20] * 10
    everything = {image.numpy().tobytes() for image in pixels(whole)["train"]}
    assert {image.numpy().tobytes() for image in pixels(part)["train"]} <= everything
    for name in ("val", "test"):
        assert torch.equal(pixels(whole)[name], pixels(part)[name])


@pytest.mark.parametrize("count", [9, 1295])
def test_a_subset_must_exist(count: int) -> None:
    with pytest.raises(UsageError, match=r"digits has 1294 \(after validation\) in 10 classes; choose 10 to 1294"):
        load_dataset(DataConfig(name="digits", train_images=count))


def test_synthetic_classes_can_be_told_apart() -> None:
    dataset = load_dataset("synthetic")
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [256, 64, 64]
    # The mean colour alone gives the class away to the nearest class mean.
    train, test = (pixels(dataset)[name].float().mean((2, 3)) for name in ("train", "test"))
    centroids = torch.stack([train[dataset.train.labels == k].mean(0) for k in range(4)])
    guessed = torch.cdist(test, centroids).argmin(1)
    assert (guessed == dataset.test.labels).float().mean() > 0.6


def test_images_are_resized_on_request_and_wrong_names_are_refused() -> None:
    dataset = load_dataset(DataConfig(name="synthetic", image_size=24))
    assert dataset.image_size == 24
    assert pixels(dataset)["train"].shape == (256, 3, 24, 24)
    with pytest.raises(UsageError, match="number of pixels"):
        load_dataset(DataConfig(name="synthetic", image_size=0))
    with pytest.raises(UsageError, match="unknown dataset 'cifar'; did you mean 'cifar10'"):
        load_dataset("cifar")


def test_a_random_subset_does_not_look_at_labels_and_is_always_the_same() -> None:
    config = DataConfig(name="digits", train_images=200, subset="random")
    drawn, again = load_dataset(config), load_dataset(config)
    assert drawn.sha256 == again.sha256
    assert len(drawn.train) == 200
    whole = load_dataset("digits")
    assert torch.equal(drawn.val.labels, whole.val.labels)
    counts = torch.bincount(drawn.train.labels)
    stratified = load_dataset(DataConfig(name="digits", train_images=200))
    assert (
        int(counts.max() - counts.min())
        > 4
        >= int(torch.bincount(stratified.train.labels).max() - torch.bincount(stratified.train.labels).min())
    )
    # A larger one holds it, so that a learning curve adds images and exchanges none.
    more = load_dataset(DataConfig(name="digits", train_images=300, subset="random")).train.images
    images = drawn.train.images
    assert isinstance(more, torch.Tensor)
    assert isinstance(images, torch.Tensor)
    known = {image.numpy().tobytes() for image in more}
    assert all(image.numpy().tobytes() in known for image in images)
