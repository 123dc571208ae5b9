"""The backbones by name: our own small ResNets, timm models worth a name here, and any other timm model.

Reading the list imports neither torch nor timm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsabench.registry import Entry, load

if TYPE_CHECKING:
    from dsabench.backbones.base import Backbone

_OWN = "dsabench.backbones.resnet:build"
_TIMM = "dsabench.backbones.timm_models:build"

BACKBONES: dict[str, Entry] = {
    "resnet8": Entry(_OWN, "CIFAR-style ResNet of 8 layers, three stages of 24-48-96: for images of 8 to 32 px"),
    "resnet8w16": Entry(_OWN, "the same at 16-32-64, as in He et al. 2016"),
    "resnet8w32": Entry(_OWN, "the same at 32-64-128"),
    "resnet20": Entry(_OWN, "CIFAR-style ResNet of 20 layers at 16-32-64, as in He et al. 2016"),
    "resnet8d2": Entry(_OWN, "resnet8 with features of two dimensions, to be looked at"),
    "resnet18": Entry(_TIMM, "ResNet-18, 11 M parameters; below 64 px with a 3x3 stem and no max-pool"),
    "resnet50": Entry(_TIMM, "ResNet-50, 24 M parameters; below 64 px with a 3x3 stem and no max-pool"),
    "convnext_atto": Entry(_TIMM, "ConvNeXt of 3.4 M parameters; below 64 px with patches of one pixel"),
    "vit_tiny_patch16_224": Entry(_TIMM, "ViT-Ti, 5.5 M parameters; below 64 px with about 8x8 patches"),
    "vit_small_patch16_224": Entry(_TIMM, "ViT-S, 22 M parameters; below 64 px with about 8x8 patches"),
}


def build_backbone(name: str, *, channels: int, image_size: int) -> Backbone:
    """A backbone with random weights for images of `channels` x `image_size` x `image_size` pixels.

    `name` is one of `BACKBONES` or any model of timm; nothing is downloaded. The weights are drawn from torch's global
    generator. Raises UsageError for an unknown name, and for a model that does not take such images.
    """
    if name in BACKBONES:
        builder = load(BACKBONES, "backbone", name)
    else:
        from dsabench.backbones.timm_models import build as builder
    backbone: Backbone = builder(name, channels=channels, image_size=image_size)
    return backbone


def timm_names() -> list[str]:
    """The names of all models of the installed timm."""
    import timm

    names: list[str] = timm.list_models()
    return names
