"""Stored features: written batch by batch, mapped rather than read, made again where they are damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

import dsabench.evaluation.features as module
from dsabench.config.plan import Request, plan, requested_dataset
from dsabench.data.dataset import Dataset
from dsabench.evaluation.features import FeatureStore, stored_form
from dsabench.files import write_atomic
from dsabench.launch.work import facts
from dsabench.signals import Stop
from dsabench.training.loop import fit
from dsabench.training.ranks import make_fabric
from dsabench.training.run import Run
from dsabench.training.state import State

REQUEST = Request(dataset="synthetic", backbone="resnet8w16", image_size=8, device="cpu", offline=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Dataset]:
    """A finished run and its data set."""
    (config,) = plan(REQUEST, ["random"], [0])
    dataset = requested_dataset(REQUEST)
    run = Run.at(config, tmp_path_factory.mktemp("runs"))
    run.begin(**facts(config, dataset, 1, None))
    fit(State(config, dataset, make_fabric(config)), run, Stop(), lambda *_: None)
    return run, dataset


@pytest.fixture
def store(finished: tuple[Run, Dataset]) -> Iterator[FeatureStore]:
    run, dataset = finished
    yield FeatureStore(run, dataset)
    for path in (run.folder / "features").iterdir():
        path.unlink()


def files(store: FeatureStore) -> list[Path]:
    return sorted((store.run.folder / "features").iterdir())


def mapping_of(tensor: Tensor) -> str:
    """The line of /proc/self/maps that holds a tensor's memory."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(address, 16) for address in line.split()[0].split("-"))
        if start <= tensor.data_ptr() < end:
            return line
    raise AssertionError("the tensor is nowhere")


def test_features_are_the_methods_whatever_the_batches(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    method = module.load_method(store.run, store.dataset)
    (images,) = module.image_batches(store.dataset.test, store.dataset, batch_size=64, device="cpu")
    monkeypatch.setattr(module, "BATCH_SIZE", 10)
    with torch.no_grad():
        h = method.backbone(images)
        expected = {"backbone": h, "projector": method.projector(h)}
    for layer, rows in expected.items():
        features = store.get(layer, "test")
        assert features.x.dtype == torch.float32
        torch.testing.assert_close(features.x, rows)
        assert torch.equal(features.y, store.dataset.test.labels)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what memory is mapped from")
def test_what_is_made_and_what_is_stored_is_mapped(store: FeatureStore) -> None:
    for _ in range(2):
        features = store.get("backbone", "test")
        (path,) = files(store)
        assert mapping_of(features.x).endswith(str(path))


def test_what_is_stored_is_not_made_again(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store.get("backbone", "test")
    monkeypatch.setattr(module, "extract", lambda *_: pytest.fail("extracted again"))
    again = FeatureStore(store.run, store.dataset).get("backbone", "test")
    assert torch.equal(again.x, first.x)
    # Nor what was stored in one piece by safetensors itself.
    (path,) = files(store)
    write_atomic(path, save({"x": first.x.clone(), "y": first.y.clone()}))
    assert torch.equal(store.get("backbone", "test").x, first.x)


@pytest.mark.parametrize("damage", ["empty", "words", "short", "long", "other labels", "other rows", "other type"])
def test_a_damaged_file_is_made_again(damage: str, store: FeatureStore) -> None:
    features = store.get("backbone", "test")
    x, y = features.x.clone(), features.y.clone()
    (path,) = files(store)
    content = path.read_bytes()
    damaged = {
        "empty": b"",
        "words": b"damaged",
        "short": content[:-1],
        "long": content + b"\0",
        "other labels": save({"x": x, "y": y.flip(0)}),
        "other rows": save({"x": x[1:].clone(), "y": y}),
        "other type": save({"x": x.double(), "y": y}),
    }
    # A new file takes the place of the old one, as everything that is written here does: what is mapped stays.
    write_atomic(path, damaged[damage])
    again = store.get("backbone", "test")
    assert torch.equal(again.x, x)
    assert torch.equal(features.x, x)
    assert path.read_bytes() == content


def test_an_extraction_that_ends_early_leaves_no_file(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[Tensor]:
        yield torch.zeros(10, 4)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "extract", broken)
    with pytest.raises(KeyboardInterrupt):
        store.get("backbone", "test")
    assert files(store) == []


@pytest.mark.parametrize("width", [1, 3, 8])
def test_the_stored_form_is_one_that_safetensors_reads(width: int, tmp_path: Path) -> None:
    x, y = torch.randn(23, width, generator=torch.Generator().manual_seed(0)), torch.arange(23)
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"".join(stored_form(torch.split(x, 7), y)))
    stored = load_file(path)
    assert set(stored) == {"x", "y"}
    assert torch.equal(stored["x"], x)
    assert torch.equal(stored["y"], y)
    assert stored["x"].data_ptr() % 4 == stored["y"].data_ptr() % 8 == 0
