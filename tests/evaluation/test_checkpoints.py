"""Models that no run here trained: the forms their weights come in, what images they want, and what is refused."""

from __future__ import annotations

import argparse
import json
import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from command import dsabench
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config
from torch import Tensor, nn

from dsabench.config.preprocess import HOW, Preprocess, parse_preprocess
from dsabench.config.source import Source
from dsabench.data import Datasets
from dsabench.data.dataset import Split
from dsabench.errors import DataError, UsageError
from dsabench.evaluation.encoder import Encoder
from dsabench.evaluation.encoders import source_encoders
from dsabench.evaluation.matching import match_weights
from dsabench.evaluation.preprocessing import prepared_batches

SMALL = "imagenet[image_size=64,interpolation=bilinear,crop_pct=1]"
MODELS = {
    "test_vit": {"img_size": 64},
    "test_resnet": {},
    "test_convnext": {},
}
FORMS = ("safetensors", "plain", "state_dict", "model", "lightning", "moco", "dino", "solo", "vissl", "compiled")
EVALUATED = ("--dataset", "synthetic", "--probe", "knn", "--probe", "crowding", "--json")


def weights(name: str, seed: int = 0) -> dict[str, Tensor]:
    """The state of a timm model with a classifier; its vectors are moved, for some begin as zeros that end a branch."""
    torch.manual_seed(seed)
    state = timm.create_model(name, num_classes=10, **MODELS[name]).state_dict()
    return {key: value + 0.5 * torch.rand_like(value) if value.ndim == 1 else value for key, value in state.items()}


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: tensor.clone() for key, tensor in state.items()}


def save_form(form: str, state: dict[str, Tensor], other: dict[str, Tensor], folder: Path) -> Path:
    """One model's weights in one of the forms in which people keep them; `other` are those of a second network."""
    path = folder / f"{form}.{'safetensors' if form == 'safetensors' else 'pt'}"
    head = {"projector.0.weight": torch.zeros(3, 3)}
    if form == "safetensors":
        save_file(state, path)
        return path
    content: dict[str, Any] = {
        "plain": state,
        "state_dict": {"state_dict": under("module.", state), "epoch": 3, "optimizer": {"state": {}}},
        "model": {"model": state, "args": argparse.Namespace(lr=0.1)},
        "lightning": {
            "state_dict": under("model.backbone.", state) | under("model.", head),
            "pytorch-lightning_version": "2.6.0",
            "hyper_parameters": {"lr": 0.1},
        },
        "moco": {
            "state_dict": under("module.encoder_q.", state)
            | under("module.encoder_k.", other)
            | {"module.queue": torch.zeros(4, 4)}
        },
        "dino": {
            "student": under("module.backbone.", other) | under("module.", head),
            "teacher": under("backbone.", state) | under("head.", head),
        },
        "solo": {"state_dict": under("backbone.", state) | under("momentum_backbone.", other) | head},
        "vissl": {"classy_state_dict": {"base_model": {"model": {"trunk": under("_feature_blocks.", state)}}}},
        "compiled": under("_orig_mod.", state),
    }[form]
    torch.save(content, path)
    return path


def encoder(path: Path, backbone: str | None = "test_resnet", **more: Any) -> Encoder:
    source = Source("checkpoint", path.stem, str(path), backbone=backbone, preprocess=parse_preprocess(SMALL))
    return source_encoders([Source(**{**vars(source), **more})], Datasets(offline=True))[0]


@pytest.mark.parametrize("name", MODELS)
def test_every_form_of_a_checkpoint_has_the_same_weights(name: str, tmp_path: Path) -> None:
    state, other = weights(name), weights(name, seed=1)
    torch.manual_seed(2)
    reference = timm.create_model(name, num_classes=0, **MODELS[name]).eval()
    reference.load_state_dict({key: state[key] for key in reference.state_dict()})
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted = reference(images)
    found = [encoder(save_form(form, state, other, tmp_path), name) for form in FORMS]
    assert len({one.weights_sha256 for one in found}) == 1
    for one in (found[0], found[-1]):
        # The backbone's layout in memory may be another one, and with it the order of a sum.
        torch.testing.assert_close(one.features("backbone", images, torch.device("cpu")), wanted)


def test_a_resnet_in_a_sequence_is_found_by_the_numbers_of_its_children(tmp_path: Path) -> None:
    state = weights("test_resnet")
    network = timm.create_model("test_resnet", num_classes=10)
    network.load_state_dict(state)
    children = nn.Sequential(*list(network.children())[:-1])
    torch.save({"state_dict": under("backbone.", children.state_dict())}, tmp_path / "lightly.ckpt")
    save_file(state, tmp_path / "plain.safetensors")
    shas = {encoder(tmp_path / name).weights_sha256 for name in ("lightly.ckpt", "plain.safetensors")}
    assert len(shas) == 1


def test_forms_have_the_same_rows_and_wrong_preprocessing_others(tmp_path: Path) -> None:
    state, other = weights("test_resnet"), weights("test_resnet", seed=1)
    flags = [f"--checkpoint={form}={save_form(form, state, other, tmp_path)}" for form in ("safetensors", "moco")]
    flags += [f"--checkpoint=wrong={tmp_path / 'safetensors.safetensors'}", "--backbone", "test_resnet"]
    wrong = SMALL.replace("imagenet", "unit")
    done = dsabench(
        *("eval", *flags, "--preprocess", SMALL, "--preprocess", f"wrong={wrong}", *EVALUATED),
        *("--runs", tmp_path / "runs"),
    )
    assert done.code == 0, done.err
    values: dict[str, dict[str, float]] = {}
    stated: dict[str, str] = {}
    for row in json.loads(done.out):
        values.setdefault(row["method"], {})[row["metric"]] = row["value"]
        stated[row["method"]] = row["preprocess"]
    assert values["safetensors"] == values["moco"] != values["wrong"]
    assert stated["safetensors"] == stated["moco"] == str(parse_preprocess(SMALL))
    assert json.loads(stated["wrong"])["mean"] == [0, 0, 0]
    assert "under state_dict.module.encoder_q; left out: state_dict.module.encoder_k (not used)" in done.err
    assert "module.encoder_q.fc" in done.err


def test_the_preprocessing_is_timms_own(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = Split(torch.zeros(3, dtype=torch.int64), images)
    preprocess = parse_preprocess("clip[image_size=24,crop_pct=0.8]")
    (batch,) = prepared_batches(split, preprocess, batch_size=8, device=torch.device("cpu"))
    transform = create_transform(
        (3, 24, 24), interpolation="bicubic", mean=preprocess.mean, std=preprocess.std, crop_pct=0.8
    )
    wanted = torch.stack([transform(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images])
    assert torch.equal(batch, wanted)


def test_an_image_folder_is_read_as_its_files_have_it(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for split in ("train", "test"):
        for label in ("a", "b"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for number in range(4):
                pixels = torch.randint(0, 256, (90, 60, 3), dtype=torch.uint8, generator=generator)
                Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    from dsabench.data.data_config import DataConfig

    data = Datasets(offline=True).load(DataConfig(name="imagefolder", folder=str(tmp_path)))
    preprocess = parse_preprocess("imagenet[image_size=32]")
    (batch,) = prepared_batches(data.test, preprocess, batch_size=8, device=torch.device("cpu"))
    transform = create_transform((3, 32, 32), interpolation="bicubic", crop_pct=0.875)
    with Image.open(tmp_path / "test" / "a" / "0.png") as image:
        assert torch.equal(batch[0], transform(image.convert("RGB")))


def test_pooling_and_layers(tmp_path: Path) -> None:
    name = "test_vit"
    state = weights(name)
    path = save_form("safetensors", state, {}, tmp_path)
    reference = timm.create_model(name, num_classes=0, img_size=64).eval()
    reference.load_state_dict({key: state[key] for key in reference.state_dict()})
    images, cpu = torch.randn(2, 3, 64, 64), torch.device("cpu")
    with torch.no_grad():
        tokens = reference.forward_features(images)
        (third,) = reference.get_intermediate_layers(images, n=[3], norm=False)
    cls, mean = tokens[:, 0], tokens[:, 1:].mean(1)
    wanted = {"model": cls, "cls": cls, "mean": mean, "cls+mean": torch.cat([cls, mean], 1)}
    for pooling, features in wanted.items():
        one = encoder(path, name, pooling=pooling)
        torch.testing.assert_close(one.features("backbone", images, cpu), features)
    torch.testing.assert_close(encoder(path, name, pooling="mean").features("blocks.3", images, cpu), third.mean(1))
    with pytest.raises(
        UsageError, match=r"no layer 'blocks.12'; it has backbone, pixels, smooth, adjust, whiten, and modules such as"
    ):
        encoder(path, name).features("blocks.12", images, cpu)
    resnet = encoder(save_form("plain", weights("test_resnet"), {}, tmp_path), pooling="cls")
    with pytest.raises(UsageError, match="without a class token"):
        resnet.features("backbone", images, cpu)


def test_a_model_of_timm_brings_its_own_preprocessing(tmp_path: Path) -> None:
    model = timm.create_model("test_resnet", num_classes=0)
    config = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 64, 64], "crop_pct": 0.9}
    config |= {"interpolation": "bilinear", "num_classes": 0}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(
        json.dumps({"architecture": "test_resnet", "num_classes": 0, "pretrained_cfg": config})
    )
    save_file(model.state_dict(), tmp_path / "mine" / "model.safetensors")
    source = Source("timm", "mine", f"local-dir:{tmp_path / 'mine'}")
    (one,) = source_encoders([source], Datasets(offline=True))
    assert one.preprocess == Preprocess(64, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 0.9, "center")
    assert resolve_data_config({}, model=model)["mean"] != one.preprocess.mean
    # The same folder as a checkpoint: architecture and preprocessing lie beside the weights.
    file = tmp_path / "mine" / "model.safetensors"
    as_file = encoder(file, None, preprocess=None)
    assert (as_file.preprocess, as_file.weights_sha256) == (one.preprocess, one.weights_sha256)


def test_weights_that_timm_has_not_are_answered_with_those_that_it_has(tmp_path: Path) -> None:
    done = dsabench("eval", "--timm", "resnet18.random", *EVALUATED, "--runs", tmp_path / "runs")
    assert done.code == 2
    assert "timm has no weights 'random' of 'resnet18'; it has resnet18.a1_in1k, " in done.err


def test_offline_says_which_file_is_missing_and_where_it_may_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    done = dsabench("eval", "--timm", "resnet18.a1_in1k", "--offline", *EVALUATED, "--runs", tmp_path / "runs")
    assert (done.code, done.err.count("\n")) == (3, 1)
    assert "model.safetensors of timm/resnet18.a1_in1k may lie under" in done.err
    assert str(tmp_path / "hub" / "models--timm--resnet18.a1_in1k" / "snapshots") in done.err


def test_a_download_is_one_line_and_what_the_hub_says_of_its_tries_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import are_progress_bars_disabled

    def create(name: str, **options: Any) -> nn.Module:
        for logger in ("huggingface_hub.utils._http", "timm.models._builder"):
            logging.getLogger(logger).warning("Retrying in 1s [Retry 1/5].")
        assert are_progress_bars_disabled()
        raise OSError("no connection\nand much more")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(timm, "create_model", create)
    done = dsabench("eval", "--timm", "resnet18.a1_in1k", *EVALUATED, "--runs", tmp_path / "runs")
    assert done.code == 3
    assert done.err.splitlines() == [
        "resnet18.a1_in1k: downloading the weights of resnet18.a1_in1k",
        "dsabench: cannot load the model resnet18.a1_in1k of timm: no connection",
    ]
    assert logging.getLogger("huggingface_hub").level != logging.CRITICAL


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("code of a file has run",)


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no sound checkpoint of the ResNet, and what is to be said of each."""
    state = weights("test_resnet")
    good = (save_form("safetensors", state, {}, folder), save_form("plain", state, {}, folder))
    raw = [path.read_bytes() for path in good]
    lacking = {key: value for key, value in state.items() if key != "layer1.0.conv1.weight"}
    contents: dict[str, tuple[Any, str]] = {
        "empty": (b"", "neither safetensors nor"),
        "words": (b"these are no weights at all", "neither safetensors nor"),
        "html": (b"<!doctype html><html>not found</html>", "neither safetensors nor"),
        "half safetensors": (raw[0][: len(raw[0]) // 2], "cannot read the checkpoint"),
        "long header": ((2**60).to_bytes(8, "little") + b"{}", "cannot read the checkpoint"),
        "half zip": (raw[1][: len(raw[1]) // 2], "cannot read the checkpoint"),
        "half pickle": (pickle.dumps({"a": [1] * 1000}, protocol=2)[:50], "the checkpoint"),
        "evil": ({"state_dict": state, "hook": Evil()}, "could run code"),
        "no tensors": ({"epoch": 3}, "holds no tensors by name, but epoch"),
        "a list": ([1, 2], "holds a list and no state dict"),
        "missing": (lacking, "missing: layer1.0.conv1.weight"),
        "left over": ({**state, "layer9.weight": torch.zeros(1)}, "left over: layer9.weight"),
        "reshaped": ({**state, "bn1.bias": torch.zeros(3)}, "other shapes: bn1.bias is (3,) and not (32,)"),
        "nan": ({**state, "bn1.bias": torch.full((32,), torch.nan)}, "NaN or infinite weights in bn1.bias"),
        "another": (weights("test_vit"), "is no test_resnet"),
        "two": ({"a": state, "b": weights("test_resnet", seed=1)}, "several sets of weights fit: 'a', 'b'; say which"),
    }
    found = {}
    for name, (content, said) in contents.items():
        path = folder / f"{name}.bin"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        found[name] = path, said
    return found


def test_hostile_and_damaged_checkpoints_are_one_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = broken_files(tmp_path)
    for name, (path, said) in files.items():
        with pytest.raises(DataError) as caught:
            encoder(path)
        assert said in str(caught.value), name
        assert "\n" not in str(caught.value), name
    assert "code of a file has run" not in capsys.readouterr().out
    path, said = files["evil"]
    done = dsabench(
        *("eval", "--checkpoint", path, "--backbone", "test_resnet", "--preprocess", SMALL, *EVALUATED),
        *("--runs", tmp_path / "runs"),
    )
    assert (done.code, done.out, done.err.count("\n")) == (3, "", 1)
    assert said in done.err
    two, _ = files["two"]
    assert encoder(two, weights="b").weights_sha256 != encoder(two, weights="a").weights_sha256


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"backbone": "test_resnet", "preprocess": {"image_size": "big", "mean": 3}}, "a preprocessing that cannot be"),
        ({"backbone": "test_resnet", "preprocess": [1, 2]}, "a preprocessing that cannot be"),
        ({"backbone": "local-dir:/", "preprocess": parse_preprocess(SMALL).facts()}, "a model that cannot be"),
    ],
)
def test_what_a_file_says_of_itself_is_not_believed(about: dict[str, Any], said: str, tmp_path: Path) -> None:
    save_file(weights("test_resnet"), tmp_path / "f.safetensors", metadata={"dsabench": json.dumps(about)})
    with pytest.raises(DataError, match=said):
        encoder(tmp_path / "f.safetensors", None, preprocess=None)


def test_a_model_of_grey_images_is_told_how_to_say_so(tmp_path: Path) -> None:
    grey = timm.create_model("test_resnet", num_classes=10, in_chans=1)
    save_file(grey.state_dict(), tmp_path / "grey.safetensors")
    with pytest.raises(DataError, match="takes images of one channel: --preprocess") as caught:
        encoder(tmp_path / "grey.safetensors")
    for text in (str(caught.value), HOW):
        # The example can be pasted.
        (example,) = re.findall(r"--preprocess '(\{.*?\})'", text)
        assert encoder(tmp_path / "grey.safetensors", preprocess=parse_preprocess(example)).preprocess.channels == 1
    colour = timm.create_model("test_vit", num_classes=10)
    save_file(colour.state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(DataError) as caught:
        encoder(tmp_path / "vit.safetensors")
    assert "one channel" not in str(caught.value)


def test_preprocessing_and_architecture_are_demanded_and_not_guessed(tmp_path: Path) -> None:
    path = save_form("safetensors", weights("test_resnet"), {}, tmp_path)
    with pytest.raises(UsageError, match="does not say of which model"):
        encoder(path, None)
    both = (
        r"does not say of which model its weights are and what images its model wants.*--backbone NAME --preprocess im"
    )
    with pytest.raises(UsageError, match=both):
        encoder(path, None, preprocess=None)
    with pytest.raises(UsageError, match=r"does not say what images its model wants.*--preprocess imagenet"):
        encoder(path, preprocess=None)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 3, "do_center_crop": True,
                "size": {"shortest_edge": 80}, "crop_size": {"height": 64, "width": 64},
                "rescale_factor": 1 / 255,
            }
        )
    )  # fmt: skip
    assert encoder(path, preprocess=None).preprocess == Preprocess(
        64, "bicubic", (0.5,) * 3, (0.25,) * 3, 0.8, "center"
    )
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5], "image_std": [0.5], "size": 64, "rescale_factor": 1.0})
    )
    with pytest.raises(DataError, match="does not rescale pixels"):
        encoder(path, preprocess=None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("imagenett", "did you mean 'imagenet'"),
        ("imagenet[imagesize=3]", "did you mean 'image_size'"),
        ("imagenet[image_size=0]", "image_size must be"),
        ("imagenet[interpolation=cubic]", "did you mean 'bicubic'"),
        ("imagenet[crop_pct=1.5]", "crop_pct must lie"),
        ("imagenet[std=0]", "std above 0"),
        ("imagenet[mean=0.1/0.2]", "1 or 3 channels"),
        ('{"image_size": 3', "not valid JSON"),
        ('{"image_size": 3}', "says nothing of size, mean and std"),
    ],
)
def test_wrong_preprocessing_is_a_usage_error(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_preprocess(text)


def test_what_a_row_says_of_preprocessing_is_read_back() -> None:
    for text in ("imagenet", "clip[image_size=96,crop_pct=1]", "unit[mean=0.5,std=0.1/0.2/0.3]"):
        preprocess = parse_preprocess(text)
        assert parse_preprocess(str(preprocess)) == preprocess


def test_the_places_of_weights_are_told_from_weights_that_end_alike() -> None:
    wanted = {"a.weight": torch.zeros(2), "b.weight": torch.zeros(3)}
    sets = {"": {"x.a.weight": torch.ones(2), "x.b.weight": torch.ones(3), "y.a.weight": torch.ones(2)}}
    match = match_weights(sets, wanted, ["a", "b"], at=None)
    assert (match.where, match.left_out) == ("x", ("y",))
    assert all(bool((tensor == 1).all()) for tensor in match.tensors.values())
