"""From what a network gives to one vector an image: tokens and maps pooled, and modules inside it by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from dsabench.errors import UsageError


class PooledModel(nn.Module):
    """A timm `model` without its head, (B, C, H, W) -> (B, D), its last features pooled as `pooling` says.

    `model` is the model's own pooling; `cls` the class token, `mean` the mean of the patch tokens or of the map, and
    `cls+mean` both, (B, 2D). Raises UsageError in `forward` where there is no class token.
    """

    def __init__(self, model: Any, pooling: str) -> None:
        super().__init__()
        self.network, self.pooling = model, pooling

    def forward(self, images: Tensor) -> Tensor:
        if self.pooling == "model":
            features: Tensor = self.network(images)
            return features
        return pooled(self.network.forward_features(images), self.network, self.pooling)


class ModuleOutput(nn.Module):
    """What `module`, somewhere inside `backbone`, gives for images (B, C, H, W), pooled to (B, D)."""

    def __init__(self, backbone: nn.Module, module: nn.Module, pooling: str) -> None:
        super().__init__()
        self.backbone, self.module, self.pooling = backbone, module, pooling

    def forward(self, images: Tensor) -> Tensor:
        caught = outputs(self.backbone, {"layer": self.module}, images)["layer"]
        return pooled(caught, network_of(self.backbone), self.pooling)


def outputs(model: nn.Module, modules: Mapping[str, nn.Module], images: Tensor) -> dict[str, Tensor]:
    """What each of `modules`, inside `model` or the model itself, gives in one forward pass of `images`, by its name.

    Raises UsageError for a module that gives no tensor, or more than one.
    """
    caught: dict[str, list[Any]] = {name: [] for name in modules}
    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: caught[name].append(output))
        for name, module in modules.items()
    ]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    for name, found in caught.items():
        if len(found) != 1 or not isinstance(found[0], Tensor):
            raise UsageError(
                f"the layer {name} gives {len(found)} outputs an image, or none that is a tensor; choose another"
            )
    return {name: found[0] for name, found in caught.items()}


def stage_names(backbone: nn.Module) -> tuple[str, ...]:
    """The names of the stages of a backbone's network: those that timm names, else blocks, else parts."""
    network = network_of(backbone)
    told = getattr(network, "feature_info", None)
    if told is not None:
        return tuple(str(one["module"]) for one in told)
    stages = getattr(network, "stages", None)
    if stages is not None:
        return tuple(f"stages.{name}" for name, _ in stages.named_children())
    return tuple(name for name, _ in network.named_children())


def network_of(backbone: nn.Module) -> nn.Module:
    """The network inside a backbone, or the module itself."""
    network = getattr(backbone, "network", backbone)
    assert isinstance(network, nn.Module)
    return network


def find_module(backbone: nn.Module, name: str, owner: str, layers: Sequence[str]) -> nn.Module:
    """A module of the network by its name, such as `blocks.8`; UsageError where it is none, nor one of `layers`."""
    modules: dict[str, nn.Module] = dict(network_of(backbone).named_modules())
    if not name or name not in modules:
        near = get_close_matches(name, modules, n=3, cutoff=0.4) or list(modules)[1:6]
        raise UsageError(
            f"{owner} has no layer {name!r}; it has {', '.join(layers)}, and modules such as {', '.join(near)}"
        )
    return modules[name]


def pooled(output: Tensor, network: nn.Module, pooling: str) -> Tensor:
    """Vectors (B, D) of tokens (B, N, D), a map (B, D, H, W) or (B, H, W, D), or vectors; UsageError where
    `pooling` asks for a class token and there is none."""
    if output.ndim == 2 and pooling in ("model", "mean"):
        return output
    if output.ndim == 4 and pooling in ("model", "mean"):
        last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        return output.mean((1, 2) if last else (2, 3))
    prefix = int(getattr(network, "num_prefix_tokens", 0)) if output.ndim == 3 else 0
    if output.ndim != 3 or (pooling != "mean" and prefix == 0 and pooling != "model"):
        raise UsageError(
            f"{type(network).__name__} gives features of shape {tuple(output.shape)} without a class token; "
            "use --pooling mean or model"
        )
    mean = output[:, prefix:].mean(1)
    if pooling == "model":
        own = getattr(network, "global_pool", "token" if prefix else "avg")
        pooling = "cls" if own == "token" and prefix else "mean"
    if pooling == "mean":
        return mean
    return output[:, 0] if pooling == "cls" else torch.cat([output[:, 0], mean], dim=1)
