"""Encoders of models that no run here trained: timm's, by name, and files of weights with their architecture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_data_config
from torch import Tensor, nn

from dsabench.backbones import BACKBONES, build_backbone, timm_models
from dsabench.config.preprocess import HOW, Preprocess, from_mapping, from_timm, grey_example, read_preprocess
from dsabench.config.source import Source
from dsabench.errors import DataError, Interrupted, UsageError
from dsabench.evaluation.encoder import Encoder, module_columns
from dsabench.evaluation.matching import Match, match_weights
from dsabench.evaluation.pooling import PooledModel, network_of
from dsabench.evaluation.weight_files import quiet_downloads, read_weights
from dsabench.files import canonical_json, read_json, sha256_bytes, slug
from dsabench.training.checkpoint import module_state, tensors_sha256
from dsabench.training.run import say

BESIDE = ("preprocessor_config.json", "config.json")


def timm_encoder(source: Source, folder: Path | None, *, offline: bool) -> Encoder:
    """The encoder of a trained model of timm by its name, `hf-hub:ID` or `local-dir:FOLDER`.

    Raises UsageError for a name that timm does not know, DataError where its weights are not there, or `offline`
    forbids to fetch them.
    """
    options: dict[str, Any] = {"num_classes": 0}
    if source.preprocess is not None and _is_fixed(source.place):
        options["img_size"] = source.preprocess.image_size
    try:
        _check_cached(source.place)
    except DataError as absent:
        if offline:
            raise DataError(f"--offline: {absent}") from absent
        say(f"{source.name}: downloading the weights of {source.place}")
    try:
        with quiet_downloads():
            model: Any = timm.create_model(source.place, pretrained=True, **options)
    except Interrupted:
        raise
    except Exception as error:
        # timm and the hub raise whatever their servers and files give rise to.
        text = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, RuntimeError) and "Unknown model" in text:
            known = timm.list_models(f"*{source.place[:6]}*")[:5]
            hint = f"; timm has {', '.join(known)}" if known else ""
            raise UsageError(f"timm has no model {source.place!r}{hint}; see: dsabench list backbones --all") from error
        raise DataError(f"cannot load the model {source.place} of timm: {text}") from error
    preprocess = source.preprocess or from_timm(resolve_data_config({}, model=model))  # type: ignore[no-untyped-call]
    architecture = str(model.pretrained_cfg.get("architecture") or source.place)
    return model_encoder(model, source, preprocess, architecture, folder, "unknown")


def checkpoint_encoder(source: Source, folder: Path | None) -> Encoder:
    """The encoder of a file of weights, in the architecture that is named, or that the file or one beside it names.

    Raises UsageError without architecture or preprocessing, DataError for a file that cannot be read or does not fit.
    """
    path = Path(source.place)
    file = read_weights(path)
    beside = _beside(path)
    architecture = source.backbone or file.about.get("backbone") or beside.get("architecture")
    preprocess = source.preprocess or _stated(path, file.about, beside)
    model, images = "of which model its weights are", "what images its model wants"
    if not architecture:
        missing, flags = (
            (model, "--backbone NAME") if preprocess else (f"{model} and {images}", f"--backbone NAME {HOW}")
        )
        raise UsageError(f"{path} does not say {missing}; say it with {flags}")
    if preprocess is None:
        raise UsageError(f"{path} does not say {images}, and nothing beside it does; say it with {HOW}")
    tried: list[DataError] = []
    try:
        networks = _built(str(architecture), preprocess)
    except UsageError as error:
        if source.backbone or source.preprocess:
            raise
        raise DataError(f"the checkpoint {path} states a model that cannot be: {error}") from error
    for network in networks:
        wanted = network.state_dict()
        try:
            match = match_weights(file.sets, wanted, [name for name, _ in network.named_children()], at=source.weights)
        except DataError as error:
            tried.append(error)
            continue
        _restore(path, network, match)
        say(f"{source.name}: {mapping(match, path)}")
        return model_encoder(
            network, source, preprocess, str(architecture), folder, str(file.about.get("labels_used", "unknown"))
        )
    hint = ""
    if preprocess.channels == 3 and _takes_grey(file.sets, networks[0].state_dict()):
        hint = f"; its first layer takes images of one channel: {grey_example(preprocess.image_size)}"
    raise DataError(f"the checkpoint {path} is no {architecture}: {tried[0]}{hint}")


def _takes_grey(sets: Mapping[str, Mapping[str, Tensor]], wanted: Mapping[str, Tensor]) -> bool:
    """Whether the layers that want colours are there with one channel, and not with three."""
    colour = {tensor.shape for tensor in wanted.values() if tensor.ndim == 4 and tensor.shape[1] == 3}
    found = {tensor.shape for tensors in sets.values() for tensor in tensors.values()}
    return not colour & found and any((out, 1, *kernel) in found for out, _, *kernel in colour)


def mapping(match: Match, path: Path) -> str:
    """Which weights of a file are used, in a sentence."""
    where = f"under {match.where}" if match.where else "by their names"
    left = f"; left out: {', '.join(match.left_out)}" if match.left_out else ""
    return f"{len(match.tensors)} weights of {path}, {where}{left}"


def model_encoder(
    network: nn.Module,
    source: Source,
    preprocess: Preprocess,
    architecture: str,
    folder: Path | None,
    labels_used: str,
) -> Encoder:
    """The encoder of a network without its head; its identity is of name, weights, preprocessing and pooling."""
    model = PooledModel(network, source.pooling).eval()
    sha256 = tensors_sha256(module_state(network, "network"))
    say(f"{source.name}: {architecture}, preprocess {preprocess}, pooling {source.pooling}")
    identity = {
        "name": source.name,
        "weights": sha256,
        "backbone": architecture,
        "preprocess": preprocess.facts(),
        "pooling": source.pooling,
    }
    config_hash = sha256_bytes(canonical_json(identity).encode())
    columns = module_columns(source.name, config_hash, labels_used, "cpu")
    return Encoder(
        name=source.name,
        layer_names=("backbone",),
        preprocess=preprocess,
        weights_sha256=sha256,
        labels_used=labels_used,
        seed=0,
        load=lambda: {"backbone": model},
        provenance={**columns, "backbone": architecture, "device": "", "image_size": preprocess.image_size},
        folder=folder / f"{slug(source.name)}-{config_hash[:12]}" if folder else None,
        device="auto",
        threads=torch.get_num_threads(),
        pooling=source.pooling,
    )


def _built(architecture: str, preprocess: Preprocess) -> list[nn.Module]:
    """The networks that the architecture may stand for: for small images both stems, which shapes tell apart."""
    channels, size = preprocess.channels, preprocess.image_size
    if architecture in BACKBONES and ":timm" not in BACKBONES[architecture].target and not timm.is_model(architecture):
        return [network_of(build_backbone(architecture, channels=channels, image_size=size))]
    plain = timm_models.build(architecture, channels=channels, image_size=size, small_stem=False)
    if size >= timm_models.SMALL:
        return [network_of(plain)]
    try:
        return [network_of(plain), network_of(build_backbone(architecture, channels=channels, image_size=size))]
    except UsageError:
        return [network_of(plain)]


@torch.no_grad()
def _restore(path: Path, network: nn.Module, match: Match) -> None:
    for name, tensor in network.state_dict().items():
        if name in match.tensors:
            weights = match.tensors[name]
            if weights.is_floating_point() and not bool(weights.isfinite().all()):
                raise DataError(f"the checkpoint {path} has NaN or infinite weights in {name}")
            tensor.copy_(weights)


def _beside(path: Path) -> Mapping[str, Any]:
    """What a config.json in the folder of the file says; nothing where there is none."""
    config = path.parent / "config.json"
    return read_json(config) if config.is_file() else {}


def _stated(path: Path, about: Mapping[str, Any], beside: Mapping[str, Any]) -> Preprocess | None:
    """The preprocessing that the file states of itself, or a file beside it."""
    if "preprocess" in about:
        try:
            return _own_form(about["preprocess"]) or from_mapping(about["preprocess"], str(path))
        except (UsageError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"the checkpoint {path} states a preprocessing that cannot be: {error}") from error
    processor = path.parent / "preprocessor_config.json"
    if processor.is_file():
        return read_preprocess(processor)
    if "pretrained_cfg" in beside:
        return read_preprocess(path.parent / "config.json")
    return None


def _own_form(values: Mapping[str, Any]) -> Preprocess | None:
    """The preprocessing of a run, whose images are brought to size by the data set; None for any other."""
    if "crop_pct" in values:
        return None
    return from_mapping(values, "it")._replace(crop_pct=None, crop_mode=None)


def _is_fixed(name: str) -> bool:
    """Whether a model of timm is made for one size and must be told another."""
    if ":" in name:
        return True
    config = timm.get_pretrained_cfg(name)
    return bool(config and config.fixed_input_size)


def _check_cached(name: str) -> None:
    """Raise DataError where the weights of a model of timm are not on this disk, with the file and where it may lie.

    Raises UsageError for weights that timm does not know of a model that it does.
    """
    kind, _, place = name.partition(":")
    if kind == "local-dir":
        return
    from huggingface_hub import constants, try_to_load_from_cache

    if kind in ("hf-hub", "hf_hub"):
        repository, revision = (*place.split("@"), None)[:2]
        files = ["config.json", "model.safetensors"]
    else:
        model, _, tag = name.partition(".")
        if not timm.is_model(model):
            return
        known = timm.list_pretrained(f"{model}.*")
        if tag and name not in known:
            raise UsageError(f"timm has no weights {tag!r} of {model!r}; it has {', '.join(known) or 'none'}")
        config = timm.get_pretrained_cfg(name)
        if config is None:
            return
        repository, revision = (*str(config.hf_hub_id or "").split("@"), None)[:2]
        files = [config.hf_hub_filename or "model.safetensors"]
        url_file = Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(str(config.url or ""))
        if not repository:
            if config.url and not url_file.is_file():
                raise DataError(f"the weights of {name} are not here; put {config.url} at {url_file}")
            return
    for file in files:
        found = any(
            isinstance(try_to_load_from_cache(str(repository), one, revision=revision), str)
            for one in (file, file.replace("model.safetensors", "pytorch_model.bin"))
        )
        if not found:
            where = Path(constants.HF_HUB_CACHE) / f"models--{str(repository).replace('/', '--')}" / "snapshots"
            raise DataError(
                f"the weights of {name} are not here; {file} of {repository} may lie under {where}, or "
                "in a folder given as --timm local-dir:FOLDER beside its config.json"
            )
