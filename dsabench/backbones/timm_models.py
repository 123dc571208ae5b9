"""Any model of timm as a backbone, with a stem that suits small images where the family has a rule for one."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple

import timm
import torch
from torch import nn

from dsabench.backbones import BACKBONES, timm_names
from dsabench.backbones.base import Backbone
from dsabench.errors import UsageError, unknown

SMALL = 64
"""Below this many pixels an ImageNet stem leaves too little of an image, and one of `SMALL_STEMS` takes its place."""


class SmallStem(NamedTuple):
    """What a family gets below `SMALL` pixels: options of timm for an image size, then a change to the model.

    `change` returns whether it could be made.
    """

    title: str
    options: Callable[[int], dict[str, Any]]
    change: Callable[[Any], bool]


def _cifar_stem(model: Any) -> bool:
    if not isinstance(model.conv1, nn.Conv2d):
        return False
    model.conv1 = nn.Conv2d(model.conv1.in_channels, model.conv1.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return True


def _one_pixel_patches(model: Any) -> bool:
    # The variants with an overlapping stem ignore `patch_size`.
    return bool(model.stem[0].stride == (1, 1))


def _vit_patches(image_size: int) -> dict[str, Any]:
    return {"img_size": image_size, "patch_size": max(1, round(image_size / 8))}


_VIT = SmallStem("patches of an eighth of the side", _vit_patches, lambda model: True)

SMALL_STEMS: dict[str, SmallStem] = {
    "resnet": SmallStem("3x3 convolution of stride 1, no max-pool", lambda image_size: {}, _cifar_stem),
    # timm strides twice after a stem of stride 2, so only patches of one pixel make the whole stride smaller (8).
    "convnext": SmallStem("patches of one pixel", lambda image_size: {"patch_size": 1}, _one_pixel_patches),
    "vision_transformer": _VIT,
    "deit": _VIT,
}
"""By the name of the file in timm/models that defines the family."""


def build(name: str, *, channels: int, image_size: int, small_stem: bool = True) -> Backbone:
    """The timm model `name` with pooled features, its stem by `SMALL_STEMS` below `SMALL` pixels if `small_stem`.

    Raises UsageError for an unknown name, a family without a rule below `SMALL`, and a model that does not take the
    images or does not give one vector for each.
    """
    if not timm.is_model(name) or "." in name:
        known = [*BACKBONES, *timm_names()]
        # Where nothing is near, the presets are a help and timm's thousand names are not.
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        raise unknown("backbone", name, known if near else BACKBONES, "dsabench list backbones --all")
    stem = _small_stem(name, image_size) if small_stem and image_size < SMALL else None
    options = stem.options(image_size) if stem else _size_option(name, image_size)
    try:
        model = timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels, **options)
        if stem and not stem.change(model):
            raise _no_rule(name, image_size)
        # Pixel-major weights make pixel-major activations, which convolutions are faster on: 1.5 times for ResNet-18.
        model = model.to(memory_format=torch.channels_last)
        return Backbone(model, _feature_dim(model, channels, image_size))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"backbone {name!r} does not take images of {channels} x {image_size} x {image_size}: {error}; "
            "choose another --backbone or --image-size"
        ) from error


def stem_options(name: str, image_size: int) -> dict[str, Any]:
    """The options of timm with which `build` makes the model for images of this size."""
    stem = _small_stem(name, image_size) if image_size < SMALL else None
    return stem.options(image_size) if stem else _size_option(name, image_size)


def _size_option(name: str, image_size: int) -> dict[str, Any]:
    """Models that are made for one size, as ViTs are, must be told another."""
    config = timm.get_pretrained_cfg(name)
    return {"img_size": image_size} if config and config.fixed_input_size else {}


def _small_stem(name: str, image_size: int) -> SmallStem:
    family = timm.model_entrypoint(name).__module__.rpartition(".")[2]
    if family not in SMALL_STEMS:
        raise _no_rule(name, image_size)
    return SMALL_STEMS[family]


def _no_rule(name: str, image_size: int) -> UsageError:
    return UsageError(
        f"backbone {name!r} has a stem made for large images, which at {image_size} px leaves next to nothing, and "
        f"there is no small stem for it (only for {', '.join(SMALL_STEMS)}); choose resnet8 or resnet18, or "
        f"--image-size {SMALL} or more"
    )


@torch.no_grad()
def _feature_dim(model: nn.Module, channels: int, image_size: int) -> int:
    """Ask the model itself, in eval mode so that no buffer moves: timm's `num_features` is not always the output's."""
    model.eval()
    features = model(torch.zeros(1, channels, image_size, image_size))
    model.train()
    if features.ndim != 2:
        raise ValueError(f"its features have shape {tuple(features.shape)} and not one vector an image")
    return int(features.shape[1])
