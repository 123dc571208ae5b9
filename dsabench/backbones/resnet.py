"""The ResNets for small images of He et al. 2016 (arXiv 1512.03385, section 4.2): 6n + 2 layers in three stages."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from dsabench.backbones.base import Backbone


class Preset(NamedTuple):
    """`blocks` in each of the three stages (the paper's n), the `width` of the first; `features`, if not those of the
    last stage, come of a linear layer behind it."""

    blocks: int
    width: int
    features: int | None = None


PRESETS: dict[str, Preset] = {
    "resnet8": Preset(blocks=1, width=24),
    "resnet8w16": Preset(blocks=1, width=16),
    "resnet8w32": Preset(blocks=1, width=32),
    "resnet20": Preset(blocks=3, width=16),
    "resnet8d2": Preset(blocks=1, width=24, features=2),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters: subsampled, new channels zero (the paper's option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv3x3(outputs, outputs, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.new_channels = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.stride != 1 or self.new_channels:
            x = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))
        return relu(y + x, inplace=True)


class CifarResNet(nn.Module):
    """A 3x3 stem, then stages of `width`, 2 and 4 times `width` with strides 1, 2, 2, averaged over the pixels."""

    def __init__(self, channels: int, *, blocks: int, width: int) -> None:
        super().__init__()
        self.stem = _conv3x3(channels, width, 1)
        self.bn = nn.BatchNorm2d(width)
        stages: list[nn.Module] = []
        inputs = width
        for outputs, stride in ((width, 1), (2 * width, 2), (4 * width, 2)):
            for block in range(blocks):
                stages.append(BasicBlock(inputs, outputs, stride if block == 0 else 1))
                inputs = outputs
        self.stages = nn.Sequential(*stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.forward_features(images).mean((2, 3))
        return features

    def forward_features(self, images: Tensor) -> Tensor:
        """The last map (B, D, h, w), which `forward` averages; timm's models call it so, too."""
        # Pixel-major activations make a step on the CPU up to a fifth faster; the weights keep their usual layout.
        x = self.stem(images).contiguous(memory_format=torch.channels_last)
        x = relu(self.bn(x), inplace=True)
        last: Tensor = self.stages(x)
        return last


def build(name: str, *, channels: int, image_size: int) -> Backbone:
    """The preset called `name`; it takes images of any size."""
    preset = PRESETS[name]
    network = CifarResNet(channels, blocks=preset.blocks, width=preset.width)
    if preset.features is None:
        return Backbone(network, 4 * preset.width)
    return Backbone(nn.Sequential(network, nn.Linear(4 * preset.width, preset.features)), preset.features)


def _conv3x3(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
