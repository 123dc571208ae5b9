"""Generated images, small and quick: blobs whose colour and size are their class, on a noisy ground."""

from __future__ import annotations

import torch

from dsabench import rng
from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import DatasetSpec, RawDataset, RawSplit

SIZE = 16
COLOURS = ((1.0, 0.2, 0.2), (0.2, 1.0, 0.2), (0.2, 0.3, 1.0), (1.0, 1.0, 0.2))
RADII = (3.0, 4.0, 5.0, 6.0)


def build(config: DataConfig, offline: bool) -> RawDataset:
    """320 images to train on and hold out from, 64 to test; as many of each of the four classes."""
    classes = ("red", "green", "blue", "yellow")
    return RawDataset(_blobs(320, "train"), _blobs(64, "test"), classes)


def _blobs(count: int, split: str) -> RawSplit:
    # Uniform draws and the four operations of arithmetic are the same on every processor, as exp() is not.
    generator = rng.generator("synthetic", split)
    labels = torch.arange(count) % len(COLOURS)
    centre = 4 + 8 * torch.rand(count, 2, 1, 1, generator=generator)
    brightness = 0.6 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    ground = 0.3 * torch.rand(count, 3, SIZE, SIZE, generator=generator)
    pixels = torch.arange(SIZE) + 0.5
    across, down = pixels - centre[:, 0], pixels[:, None] - centre[:, 1]
    radius = torch.tensor(RADII)[labels, None, None]
    shape = (1 - (across * across + down * down) / (radius * radius)).clamp_min(0)[:, None]
    colour = torch.tensor(COLOURS)[labels, :, None, None]
    images = ground * (1 - shape) + brightness * colour * shape
    return RawSplit((images * 255).round().to(torch.uint8), labels)


SPEC = DatasetSpec(
    name="synthetic",
    builder=build,
    channels=3,
    image_size=SIZE,
    mean=(0.2, 0.2, 0.2),
    std=(0.15, 0.15, 0.15),
    val_fraction=0.2,
)
