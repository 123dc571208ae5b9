"""Stored features: written batch by batch, mapped rather than read, verified, made again where they are damaged."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from sklearn.decomposition import PCA
from torch import Tensor

from dsabench.config.plan import plan
from dsabench.config.request import Request
from dsabench.config.spec import Part, parse_part, parse_spec
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.data.loader import image_batches
from dsabench.errors import UsageError
from dsabench.evaluation import features as module
from dsabench.evaluation.encoder import Encoder, run_encoder
from dsabench.evaluation.feature_files import seal, stored_form
from dsabench.evaluation.features import FeatureStore
from dsabench.evaluation.posthoc import smoothed
from dsabench.files import write_atomic
from dsabench.launch.work import Workshop, train
from dsabench.signals import Stop
from dsabench.training.store import Store

DATASETS = Datasets(offline=True)
REQUEST = Request(
    (parse_spec("random"),), data=DataConfig(name="synthetic", image_size=8), backbone="resnet8w16", device="cpu"
)
BACKBONE = Part("backbone")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """The encoder of a finished run."""
    (config,) = plan(REQUEST, DATASETS.load(REQUEST.data))
    shop = Workshop(Store(tmp_path_factory.mktemp("runs")), DATASETS, Stop(), lambda update: None)
    run, _ = train(config, shop)
    return run_encoder(run, DATASETS)


@pytest.fixture
def fresh(encoder: Encoder) -> Iterator[Callable[[], FeatureStore]]:
    """Makes stores as new processes have them, which have not read anything yet."""
    dataset = DATASETS.load(REQUEST.data)
    yield lambda: FeatureStore(encoder, dataset, torch.device("cpu"))
    for path in folder(encoder).iterdir():
        path.unlink()


def folder(encoder: Encoder) -> Path:
    assert encoder.folder is not None
    return encoder.folder


def files(encoder: Encoder) -> list[Path]:
    return sorted(folder(encoder).glob("*.safetensors")) if folder(encoder).is_dir() else []


def mapping_of(tensor: Tensor) -> str:
    """The line of /proc/self/maps that holds a tensor's memory."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(address, 16) for address in line.split()[0].split("-"))
        if start <= tensor.data_ptr() < end:
            return line
    raise AssertionError("the tensor is nowhere")


def never(*_: object) -> Iterator[Tensor]:
    pytest.fail("extracted again")


def test_features_are_the_encoders_whatever_the_batches(
    fresh: Callable[[], FeatureStore], encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fresh()
    dataset = store.dataset
    (images,) = image_batches(dataset.test, dataset.mean, dataset.std, batch_size=64, device="cpu")
    monkeypatch.setattr(module, "BATCH_SIZE", 10)
    for name in ("backbone", "projector"):
        features = store.get(Part(name), "test")
        assert features.x.dtype == torch.float32
        with torch.no_grad():
            torch.testing.assert_close(features.x, encoder.layers[name](images))
        assert torch.equal(features.y, dataset.test.labels)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what memory is mapped from")
def test_what_is_made_and_what_is_stored_is_mapped(fresh: Callable[[], FeatureStore], encoder: Encoder) -> None:
    for _ in range(2):
        features = fresh().get(BACKBONE, "test")
        (path,) = files(encoder)
        assert mapping_of(features.x).endswith(str(path))


def test_what_is_stored_is_not_made_again(fresh: Callable[[], FeatureStore], monkeypatch: pytest.MonkeyPatch) -> None:
    first = fresh().get(BACKBONE, "test")
    monkeypatch.setattr(FeatureStore, "_extracted", never)
    again = fresh().get(BACKBONE, "test")
    assert torch.equal(again.x, first.x)


def test_a_flipped_bit_anywhere_is_noticed_and_mended(fresh: Callable[[], FeatureStore], encoder: Encoder) -> None:
    x = fresh().get(BACKBONE, "test").x.clone()
    (path,) = files(encoder)
    content = path.read_bytes()
    for place in range(0, len(content), len(content) // 40):
        write_atomic(path, content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        assert torch.equal(fresh().get(BACKBONE, "test").x, x), place
        assert path.read_bytes() == content
    assert seal(path).read_text().strip() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "damage", ["empty", "words", "short", "long", "other labels", "other rows", "other type", "other width", "unsealed"]
)
def test_a_damaged_file_is_made_again(damage: str, fresh: Callable[[], FeatureStore], encoder: Encoder) -> None:
    features = fresh().get(BACKBONE, "test")
    x, y = features.x.clone(), features.y.clone()
    (path,) = files(encoder)
    content = path.read_bytes()
    damaged = {
        "empty": b"",
        "words": b"damaged",
        "short": content[:-1],
        "long": content + b"\0",
        "other labels": save({"x": x, "y": y.flip(0)}),
        "other rows": save({"x": x[1:].clone(), "y": y}),
        "other type": save({"x": x.double(), "y": y}),
        "other width": save({"x": x[:, 1:].clone(), "y": y}),
        "unsealed": content,
    }
    if damage == "unsealed":
        seal(path).unlink()
    # A new file takes the place of the old one, as everything that is written here does: what is mapped stays.
    write_atomic(path, damaged[damage])
    again = fresh().get(BACKBONE, "test")
    assert torch.equal(again.x, x)
    assert torch.equal(features.x, x)
    assert path.read_bytes() == content


def test_an_extraction_that_ends_early_leaves_no_file(
    fresh: Callable[[], FeatureStore], encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[Tensor]:
        yield torch.zeros(10, 4)
        raise KeyboardInterrupt

    folder(encoder).mkdir(exist_ok=True)
    monkeypatch.setattr(FeatureStore, "_extracted", broken)
    with pytest.raises(KeyboardInterrupt):
        fresh().get(BACKBONE, "test")
    assert files(encoder) == []


def test_a_layer_that_the_encoder_does_not_have_is_named(fresh: Callable[[], FeatureStore]) -> None:
    with pytest.raises(UsageError, match="random s0 has no layer 'blocks'; it has backbone, projector, pixels, smooth"):
        fresh().get(Part("blocks"), "test")


def test_a_smoothed_layer_averages_with_the_nearest_training_features(fresh: Callable[[], FeatureStore]) -> None:
    store = fresh()
    unit = {
        split: torch.nn.functional.normalize(store.get(BACKBONE, split).x.double(), dim=1)
        for split in ("train", "test")
    }
    for k, times in ((1, 1), (4, 1), (4, 3)):
        train, test = unit["train"], unit["test"]
        for _ in range(times):
            moved = []
            for row in test:
                order = (torch.nn.functional.normalize(train, dim=1) @ row).argsort(descending=True)[:k]
                moved.append((row + train[order].sum(dim=0)) / (k + 1))
            within = []
            for number, row in enumerate(train):
                cosine = torch.nn.functional.normalize(train, dim=1) @ row
                cosine[number] = torch.inf
                within.append(train[cosine.argsort(descending=True)[: k + 1]].mean(dim=0))
            train, test = torch.stack(within), torch.stack(moved)
        layer = parse_part(f"smooth[k={k},times={times}]")
        torch.testing.assert_close(store.get(layer, "test").x, test.float())
        torch.testing.assert_close(store.get(layer, "train").x, train.float())


def test_a_whitened_layer_is_that_of_scikit_learn(fresh: Callable[[], FeatureStore]) -> None:
    store = fresh()
    train, test = (
        torch.nn.functional.normalize(store.get(BACKBONE, split).x.double(), dim=1) for split in ("train", "test")
    )
    rank = int(torch.linalg.matrix_rank(train - train.mean(dim=0)))
    reference = PCA(rank, whiten=True, svd_solver="full").fit(train.numpy())
    expected = torch.from_numpy(reference.transform(test.numpy()))
    # scikit-learn divides by N - 1.
    expected *= math.sqrt(len(train) / (len(train) - 1))
    white = store.get(parse_part("whiten[power=1]"), "test").x.double()
    assert white.shape == expected.shape
    torch.testing.assert_close(white @ white.T, expected @ expected.T, rtol=1e-3, atol=1e-3)
    own = store.get(parse_part("whiten[power=1]"), "train").x.double()
    torch.testing.assert_close(own.T @ own / len(own), torch.eye(rank, dtype=torch.float64), rtol=1e-3, atol=1e-3)


def test_a_layer_evened_out_in_part_keeps_half_of_the_logarithm_of_every_spread(
    fresh: Callable[[], FeatureStore],
) -> None:
    store = fresh()
    plain, half = (store.get(parse_part(f"whiten[power={power}]"), "train").x.double() for power in (1e-6, 0.5))
    spreads = [torch.linalg.svdvals(x - x.mean(dim=0)) / math.sqrt(len(x)) for x in (plain, half)]
    torch.testing.assert_close(spreads[1], spreads[0].sqrt(), rtol=1e-3, atol=1e-6)


def test_post_hoc_layers_are_made_of_each_other(fresh: Callable[[], FeatureStore]) -> None:
    store = fresh()
    layer = store.get(parse_part("smooth[k=4,layer=whiten]"), "test")
    white, bank = (store.get(parse_part("whiten[power=0.5]"), split) for split in ("test", "train"))
    assert torch.equal(layer.x, smoothed(white, bank, k=4, times=1).x)


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
