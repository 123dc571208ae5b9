from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.transforms.v2.functional import resized_crop

from dsabench import rng
from dsabench.data import load_dataset
from dsabench.data import loading as builder
from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import Dataset
from dsabench.data.loader import image_batches, labelled_batches, pretraining_batches, steps_per_epoch, unlabelled
from dsabench.data.sources.decoding import FileSource
from dsabench.data.views.augment import augment
from dsabench.data.views.policies import POLICIES, LocalCrops, ViewPolicies, ViewPolicy
from dsabench.data.views.resampling import draw_boxes, fit_boxes
from dsabench.errors import UsageError
from dsabench.types import Views

WriteFolder = Callable[..., None]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset("synthetic")


def batches(dataset: Dataset, policy: str = "asymmetric", **changes: object) -> list[Views]:
    options: dict[str, Any] = {"batch_size": 64, "seed": 3, "epoch": 1, "device": "cpu"} | changes
    return list(pretraining_batches(dataset, policy, **options))


def equal(a: Views, b: Views) -> bool:
    return all(torch.equal(x, y) for x, y in zip((*a[:4], *a.locals), (*b[:4], *b.locals), strict=True))


def test_steps_drop_the_last_partial_batch_and_a_small_set_is_one() -> None:
    assert [steps_per_epoch(n, 256) for n in (1, 255, 256, 511, 1294)] == [1, 1, 1, 1, 5]
    with pytest.raises(UsageError, match="at least 1"):
        steps_per_epoch(10, 0)


def test_an_epoch_visits_every_image_once_in_an_order_of_its_own(dataset: Dataset) -> None:
    orders = [torch.cat([b.index for b in batches(dataset, epoch=epoch)]) for epoch in (1, 2)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(256))
    assert not torch.equal(*orders)
    assert [len(b.index) for b in batches(dataset, batch_size=100)] == [100, 100]
    assert [len(b.index) for b in batches(dataset, batch_size=1000)] == [256]


def test_a_batch_is_the_same_wherever_an_epoch_is_entered(dataset: Dataset) -> None:
    whole, resumed = batches(dataset), batches(dataset, start_step=2)
    assert len(resumed) == 2
    assert all(equal(a, b) for a, b in zip(whole[2:], resumed, strict=True))
    assert not any(equal(a, b) for a, b in zip(whole, batches(dataset, seed=4), strict=True))


def test_anchor_is_the_normalised_image_and_the_views_differ(dataset: Dataset) -> None:
    first = batches(dataset)[0]
    assert isinstance(dataset.train.images, torch.Tensor)
    mean, std = (torch.tensor(x)[:, None, None] for x in (dataset.mean, dataset.std))
    torch.testing.assert_close(first.anchor, (dataset.train.images[first.index] / 255 - mean) / std)
    assert first.anchor.shape == first.view1.shape == first.view2.shape == (64, 3, 16, 16)
    assert not torch.equal(first.view1, first.view2)
    # Views are normalised as the anchor is: black is -mean / std.
    assert first.view1.min() >= (-mean / std).min() - 1e-4


def test_small_crops_are_a_matter_of_the_policy_and_leave_the_views_alone(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert batches(dataset)[0].locals == ()
    crops = LocalCrops(POLICIES["symmetric"].view1, count=3, share=0.4)
    monkeypatch.setitem(POLICIES, "small", POLICIES["asymmetric"]._replace(locals=crops))
    plain, small = batches(dataset), batches(dataset, "small")
    for a, b in zip(plain, small, strict=True):
        assert equal(a, b._replace(locals=()))
        assert [crop.shape for crop in b.locals] == [(64, 3, 6, 6)] * 3
    first, second, third = small[0].locals
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    # Drawn by name as the views are, so that a resumed run sees the same.
    assert all(equal(a, b) for a, b in zip(small[2:], batches(dataset, "small", start_step=2), strict=True))
    labelled = next(labelled_batches(dataset, "small", batch_size=64, seed=3, epoch=1, device="cpu"))
    assert equal(unlabelled(labelled), small[0])


def test_a_small_crop_is_of_its_share_of_the_image_and_cuts_what_its_policy_says(dataset: Dataset) -> None:
    shares = {name: policies.locals for name, policies in POLICIES.items() if policies.locals}
    assert {name: (crops.count, crops.size(224)) for name, crops in shares.items()} == {
        "multicrop": (6, 96),
        "digits_multicrop": (4, 112),
    }
    assert LocalCrops(POLICIES["weak"].view1, count=1, share=0.01).size(8) == 1
    # The same draw in the same place: a local crop is the view that `augment` gives at that size.
    batch = batches(dataset, "multicrop")[0]
    mean, std = (torch.tensor(x)[:, None, None] for x in (dataset.mean, dataset.std))
    assert isinstance(dataset.train.images, torch.Tensor)
    pixels = dataset.train.images[batch.index]
    for position, crop in enumerate(batch.locals):
        draw = rng.generator(3, "augment", 1, 0, 2 + position, 0)
        expected = augment(pixels, shares["multicrop"].policy, draw, 7)
        torch.testing.assert_close(crop, (expected - mean) / std, atol=1e-5, rtol=0)


def test_labelled_batches_are_the_same_with_labels(dataset: Dataset) -> None:
    plain = batches(dataset)
    labelled = list(labelled_batches(dataset, "asymmetric", batch_size=64, seed=3, epoch=1, device="cpu"))
    for a, b in zip(plain, labelled, strict=True):
        assert equal(a, unlabelled(b))
        assert torch.equal(b.labels, dataset.train.labels[a.index])
    assert "labels" not in Views._fields


def test_ranks_share_every_batch_and_see_the_views_of_one_process(dataset: Dataset) -> None:
    whole = batches(dataset)
    ranks = [batches(dataset, rank=rank, world_size=4) for rank in range(4)]
    for step, batch in enumerate(whole):
        assert torch.equal(torch.cat([mine[step].index for mine in ranks]), batch.index)
        assert torch.equal(torch.cat([mine[step].anchor for mine in ranks]), batch.anchor)
        for view in ("view1", "view2"):
            shared = torch.cat([getattr(mine[step], view) for mine in ranks])
            # Which rows a product has beside it decides how it is rounded.
            torch.testing.assert_close(shared, getattr(batch, view), rtol=1e-6, atol=1e-6)


def test_wrong_batches_and_policies_are_refused_before_the_first_step(dataset: Dataset) -> None:
    options: dict[str, Any] = {"batch_size": 64, "seed": 0, "epoch": 0, "device": "cpu"}
    with pytest.raises(UsageError, match="evenly over 3 processes; --batch-size 63 or 66 would do"):
        pretraining_batches(dataset, "asymmetric", **options, world_size=3)
    # All 256 images are one batch, and there are no 258.
    with pytest.raises(UsageError, match=r"batch of 256 .* 3 processes; --batch-size 255 would do"):
        pretraining_batches(dataset, "asymmetric", **options | {"batch_size": 999}, world_size=3)
    with pytest.raises(UsageError, match="did you mean 'symmetric'"):
        pretraining_batches(dataset, "simmetric", **options)


def test_evaluation_reads_in_order(dataset: Dataset) -> None:
    parts = list(image_batches(dataset.test, dataset.mean, dataset.std, batch_size=30, device="cpu"))
    assert [len(part) for part in parts] == [30, 30, 4]
    assert isinstance(dataset.test.images, torch.Tensor)
    mean, std = (torch.tensor(x)[:, None, None] for x in (dataset.mean, dataset.std))
    torch.testing.assert_close(torch.cat(parts), (dataset.test.images / 255 - mean) / std)


def test_a_device_gets_one_copy_that_stays() -> None:
    split = load_dataset("synthetic").train
    assert split.on("cpu") is split
    assert split.on("meta") is split.on(torch.device("meta"))
    assert split.on("meta").labels.device.type == "meta"


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Dataset]:
    """`load_dataset` as if the images did not fit in memory."""

    def loaded(folder: Path, **options: Any) -> Dataset:
        with monkeypatch.context() as patch:
            patch.setattr(builder, "RESIDENT_BYTES", 0)
            return load_dataset(DataConfig(name="imagefolder", folder=str(folder), **options))

    return loaded


def test_a_streamed_set_is_read_in_the_order_and_for_evaluation_with_the_bits_of_a_resident_one(
    tmp_path: Path, write_folder: WriteFolder, streaming: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, {"train": 12, "test": 3})
    resident, streamed = load_dataset(DataConfig(name="imagefolder", folder=str(tmp_path))), streaming(tmp_path)
    assert isinstance(resident.train.images, torch.Tensor)
    assert not isinstance(streamed.train.images, torch.Tensor)
    turned = POLICIES["weak_strong"].view1
    monkeypatch.setitem(POLICIES, "turned", ViewPolicies(turned, replace(turned, rotate_degrees=9.0)))
    expected, read = (batches(d, "turned", batch_size=8) for d in (resident, streamed))
    assert len(read) > 2
    for a, b in zip(expected, read, strict=True):
        assert torch.equal(a.anchor, b.anchor)
        assert torch.equal(a.index, b.index)
        # Of files that have the final size the crops are the same, but for rounding to 8 bits (std is .225).
        for view, other in ((a.view1, b.view1), (a.view2, b.view2)):
            assert (view - other).abs().max() < 1.01 / 255 / 0.22
    tests = [
        torch.cat(list(image_batches(d.test, d.mean, d.std, batch_size=4, device="cpu"))) for d in (resident, streamed)
    ]
    assert torch.equal(*tests)
    assert streamed.sha256 != resident.sha256


@pytest.mark.parametrize("reference", [False, True])
def test_streamed_batches_are_the_same_whatever_the_workers_and_wherever_entered(
    reference: bool, tmp_path: Path, write_folder: WriteFolder, streaming: Callable[..., Dataset]
) -> None:
    write_folder(tmp_path, {"train": 12, "test": 3}, size=(23, 14))
    dataset = streaming(tmp_path, image_size=10)
    options = {"policy": "multicrop", "batch_size": 8, "reference": reference}
    state = torch.get_rng_state()
    whole = batches(dataset, **options)
    assert [len(b.locals) for b in whole] == [6, 6, 6, 6]
    read = batches(dataset, **options, workers=2, start_step=2)
    assert all(equal(a, b) for a, b in zip(whole[2:], read, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert not equal(whole[0], batches(dataset, **options, seed=4)[0])


def test_streamed_crops_are_cut_from_the_images_as_the_files_have_them(
    tmp_path: Path, write_folder: WriteFolder, streaming: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, {"train": 6, "test": 2}, size=(60, 33))
    dataset = streaming(tmp_path, image_size=12)
    assert isinstance(dataset.train.images, FileSource)
    law = ViewPolicy(crop_scale=(0.1, 0.5), flip_p=0.0, grey_p=0.0)
    monkeypatch.setitem(POLICIES, "crops", ViewPolicies(law, law))
    batch = batches(dataset, "crops", batch_size=8)[0]
    mean, std = (torch.tensor(x)[:, None, None] for x in (dataset.mean, dataset.std))
    drawn = draw_boxes(8, rng.generator(3, "augment", 1, 0, 1, 0))
    for position, (picture, view) in enumerate(
        zip(dataset.train.images.pictures(batch.index), batch.view2, strict=True)
    ):
        assert picture.original.shape == (3, 33, 60)
        box = [
            int(side)
            for side in fit_boxes(drawn.of(slice(position, position + 1)), 33, 60, law.crop_scale, law.crop_ratio)
        ]
        expected = resized_crop(picture.original, *box, [12, 12], antialias=True)
        torch.testing.assert_close(view, (expected / 255 - mean) / std, atol=1e-5, rtol=0)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_reference_batches_have_the_form_of_the_batched_ones_and_resume(name: str, policy: str) -> None:
    dataset = load_dataset(name)
    state = torch.get_rng_state()
    options: dict[str, Any] = {"batch_size": 64, "seed": 3, "epoch": 1, "device": "cpu"}
    steps = pretraining_batches(dataset, policy, **options, reference=True)
    first, second = next(steps), next(steps)
    assert torch.equal(torch.get_rng_state(), state)
    batched = next(pretraining_batches(dataset, policy, **options))
    assert torch.equal(first.anchor, batched.anchor)
    assert torch.equal(first.index, batched.index)
    for a, b in zip((*first[1:3], *first.locals), (*batched[1:3], *batched.locals), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert not torch.equal(a, b)
    assert not torch.equal(first.view1, first.view2)
    assert equal(second, next(pretraining_batches(dataset, policy, **options, start_step=1, reference=True)))
