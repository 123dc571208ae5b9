from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from dsabench.data.views import colour


def images(channels: int = 3) -> Tensor:
    drawn = torch.rand(40, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    drawn[0], drawn[1], drawn[2] = 0.0, 1.0, 0.5
    # Ties between channels and coarse values are where a hue changes its case.
    drawn[3:20] = (drawn[3:20] * 4).round() / 4
    return drawn


FACTORS = torch.cat(
    (torch.tensor([0.0, 1.0, 2.0]), 0.2 + 1.6 * torch.rand(37, generator=torch.Generator().manual_seed(1)))
)
OPERATIONS: list[tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, float], Tensor], Tensor]] = [
    (colour.brightness, reference.adjust_brightness, FACTORS),
    (colour.contrast, reference.adjust_contrast, FACTORS),
    (colour.saturation, reference.adjust_saturation, FACTORS),
    (colour.hue, reference.adjust_hue, torch.linspace(-0.5, 0.5, 40)),
]


@pytest.mark.parametrize(("ours", "theirs", "factors"), OPERATIONS, ids=["brightness", "contrast", "saturation", "hue"])
def test_jitter_is_torchvisions_image_by_image(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, float], Tensor], factors: Tensor
) -> None:
    # Another order of the factors pairs the special images with other ones.
    for turn in (0, 7, 23):
        factor = factors.roll(turn)
        expected = torch.stack([theirs(image, float(f)) for image, f in zip(images(), factor, strict=True)])
        torch.testing.assert_close(ours(images(), factor), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("ours", "theirs"), [operation[:2] for operation in OPERATIONS[:2]])
def test_brightness_and_contrast_of_one_channel_are_torchvisions(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, float], Tensor]
) -> None:
    expected = torch.stack([theirs(image, float(f)) for image, f in zip(images(1), FACTORS, strict=True)])
    torch.testing.assert_close(ours(images(1), FACTORS), expected, atol=1e-5, rtol=0)


def test_grey_and_solarize_are_torchvisions() -> None:
    torch.testing.assert_close(colour.luminance(images()), reference.rgb_to_grayscale(images()), atol=1e-6, rtol=0)
    expected = reference.solarize(images(), colour.SOLARIZE_THRESHOLD)
    torch.testing.assert_close(colour.solarize(images()), expected, atol=1e-6, rtol=0)
