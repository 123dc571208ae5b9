"""Corruptions against their formulas written out, and where they are made."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from dsabench import rng
from dsabench.data.dataset import Split
from dsabench.data.subset import ChosenImages
from dsabench.evaluation.corruptions import (
    BLUR,
    BRIGHTNESS,
    CONTRAST,
    CORRUPTIONS,
    NOISE,
    PIXELS_LEFT,
    QUALITY,
    SEVERITIES,
    CorruptedImages,
    corrupt,
    corrupted,
)


def pictures(n: int, channels: int, side: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(side)
    rough = torch.rand(n, channels, 5, 5, generator=draw)
    smooth = torch.nn.functional.interpolate(rough, size=(side, side), mode="bicubic").clamp(0, 1)
    return (smooth * 255).round().to(torch.uint8)


IMAGES = pictures(3, 3, 20)


def bytes_of(x: np.ndarray) -> np.ndarray:
    return np.clip(np.round(x * 255), 0, 255).astype(np.uint8)


def literal(image: torch.Tensor, name: str, severity: int, position: int) -> np.ndarray:
    """A corruption by NumPy, SciPy and Pillow, of an image (C, H, W) uint8."""
    x, level = image.numpy() / 255, severity - 1
    if name == "noise":
        draws = rng.generator("corruptions", "noise", severity, position)
        return bytes_of(x + NOISE[level] * torch.randn(x.shape, generator=draws).numpy())
    if name == "blur":
        blurred = [
            gaussian_filter(channel, BLUR[level], mode="nearest", radius=round(4 * BLUR[level])) for channel in x
        ]
        return bytes_of(np.stack(blurred))
    if name == "contrast":
        return bytes_of(np.stack([(c - c.mean()) * CONTRAST[level] + c.mean() for c in x]))
    if name == "brightness":
        return bytes_of(x + BRIGHTNESS[level])
    if name == "jpeg":
        file = io.BytesIO()
        pixels = image.permute(1, 2, 0).numpy()
        Image.fromarray(pixels if len(image) == 3 else pixels[..., 0]).save(file, "JPEG", quality=QUALITY[level])
        read = np.asarray(Image.open(file))
        return read.transpose(2, 0, 1) if len(image) == 3 else read[None]
    side = x.shape[1]
    coarse = max(1, round(side * PIXELS_LEFT[level]))
    ends = [(int(np.floor(i * side / coarse)), int(np.ceil((i + 1) * side / coarse))) for i in range(coarse)]
    cells = np.array([[[c[a:b, p:q].mean() for p, q in ends] for a, b in ends] for c in x])
    at = ((np.arange(side) + 0.5) * coarse / side).astype(int)
    return bytes_of(cells[:, at][:, :, at])


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_corruption_is_its_formula(name: str, channels: int) -> None:
    for severity in SEVERITIES:
        for position, image in enumerate(IMAGES[:, :channels]):
            found = corrupt(image, name, severity, position)
            assert found.dtype == torch.uint8
            assert found.shape == image.shape
            expected = literal(image, name, severity, position)
            # Halves may be rounded to either side of a float32.
            assert np.abs(found.numpy().astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("name", ["noise", "blur", "contrast", "brightness", "jpeg"])
def test_a_greater_severity_is_farther_from_the_image(name: str) -> None:
    images = pictures(4, 3, 32)
    apart = [
        sum(float((corrupt(x, name, s, i).float() - x.float()).square().mean()) for i, x in enumerate(images))
        for s in SEVERITIES
    ]
    assert apart == sorted(apart)
    assert apart[0] > 0


def test_noise_goes_by_position_and_streamed_images_get_the_same() -> None:
    labels = torch.tensor([0, 1, 0])
    resident = corrupted(Split(labels, IMAGES), "noise", 2)
    assert isinstance(resident.images, torch.Tensor)

    class Source:
        def __len__(self) -> int:
            return 3

        def read(self, index: torch.Tensor) -> torch.Tensor:
            return IMAGES[index]

    streamed = corrupted(Split(labels, Source()), "noise", 2)  # type: ignore[arg-type]
    assert isinstance(streamed.images, CorruptedImages)
    assert torch.equal(streamed.images.read(torch.tensor([2, 0])), resident.images[[2, 0]])
    assert torch.equal(ChosenImages(streamed.images, torch.tensor([1, 2])).read(torch.tensor([1])), resident.images[2:])
    same = IMAGES[:1].expand(2, -1, -1, -1)
    assert not torch.equal(*corrupted(Split(labels[:2], same), "noise", 2).images)  # type: ignore[misc]


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 4 channels"):
        corrupt(torch.zeros(4, 8, 8, dtype=torch.uint8), "blur", 1, 0)
