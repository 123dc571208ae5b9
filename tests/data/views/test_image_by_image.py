"""The batched augmentation against the reference pipeline, whole: the same images, the same laws, other draws."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dsabench.data.views.augment import ViewDraw, augment
from dsabench.data.views.image_by_image import reference_views
from dsabench.data.views.policies import POLICIES, ViewPolicy

VIEWS = 1024
BATCH = 32
SIZE = 24
# Of 8-bit images torchvision cuts off the fraction of what brightness, contrast, saturation and hue give: half a level
# each, on average.
ROUNDING = 4 * 0.5 / 255


def laws() -> dict[str, tuple[ViewPolicy, int]]:
    """Every law that is in use, once, with the side of its views."""
    found: dict[str, tuple[ViewPolicy, int]] = {}
    for name, (view1, view2, small) in POLICIES.items():
        wanted = [("view1", view1, SIZE), ("view2", view2, SIZE)]
        wanted += [("locals", small.policy, small.size(SIZE))] if small else []
        for which, policy, size in wanted:
            if (policy, size) not in found.values():
                found[f"{name}-{which}"] = (policy, size)
    return found


LAWS = laws()


def pictures(channels: int = 3) -> Tensor:
    """Smooth, strongly coloured images (BATCH, C, SIZE, SIZE) that are brighter to the left, with a grain on them."""
    draw = torch.Generator().manual_seed(0)
    across = torch.linspace(1, 0, SIZE)
    waves = torch.sin(6 * torch.rand(BATCH, channels, 1, 1, generator=draw) * torch.linspace(0, 3, SIZE)[:, None])
    base = 0.15 + 0.6 * torch.rand(BATCH, channels, 1, 1, generator=draw)
    grain = 0.1 * torch.rand(BATCH, channels, SIZE, SIZE, generator=draw)
    return ((base + 0.25 * across + 0.15 * waves + grain).clamp(0, 1) * 255).to(torch.uint8)


def batched(images: Tensor, policy: ViewPolicy, size: int, views: int = VIEWS) -> Tensor:
    # In small batches, for the order of the jitter is drawn once for each.
    draws = (torch.Generator().manual_seed(step) for step in range(views // BATCH))
    return torch.cat([augment(images, policy, draw, size) for draw in draws])


def reference(images: Tensor, policy: ViewPolicy, size: int, views: int = VIEWS) -> Tensor:
    draws = tuple(ViewDraw(policy, size, ("reference", step)) for step in range(views // BATCH))
    return torch.cat(reference_views(images, (torch.arange(BATCH), draws))[1:])


def assert_same_law(ours: Tensor, theirs: Tensor, slack: float = 0.0) -> None:
    """Compare the means of statistics (N, S) over views, by their standard errors."""
    error = (ours.var(0) / len(ours) + theirs.var(0) / len(theirs)).sqrt()
    difference = (ours.mean(0) - theirs.mean(0)).abs()
    assert (difference <= 4 * error + slack + 1e-6).all(), (difference / error, difference)


def moments(views: Tensor) -> Tensor:
    """Of each view: every channel's mean and standard deviation, its roughness, and how coloured it is."""
    roughness = (views.diff(dim=3).abs().mean((1, 2, 3)) + views.diff(dim=2).abs().mean((1, 2, 3)))[:, None]
    coloured = (views.amax(1) - views.amin(1)).mean((1, 2))[:, None]
    return torch.cat([views.mean((2, 3)), views.std((2, 3)), roughness, coloured], 1)


def shares(views: Tensor) -> Tensor:
    """Of each view: whether it is turned (the images are brighter to the left), and whether it is grey."""
    half = views.shape[-1] // 2
    turned = views[..., :half].mean((1, 2, 3)) < views[..., -half:].mean((1, 2, 3))
    grey = (views - views[:, :1]).abs().amax((1, 2, 3)) < 1e-5
    return torch.stack([turned, grey], 1).float()


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("channels", [1, 3])
def test_whole_pipelines_have_the_same_moments_and_shares(name: str, channels: int) -> None:
    policy, size = LAWS[name]
    images = pictures(channels)
    ours = batched(images, policy, size)
    assert ours.shape == (VIEWS, channels, size, size)
    # Where nothing is rounded there is nothing to forgive; a threshold of solarize in levels wants 8 bits.
    for given, slack in ((images, ROUNDING), (images / 255, 0.0))[: 1 if policy.solarize_p else 2]:
        theirs = reference(given, policy, size)
        assert theirs.shape == ours.shape
        assert_same_law(moments(ours), moments(theirs), slack)
        # Their squares too: the draws vary as much.
        assert_same_law(moments(ours) ** 2, moments(theirs) ** 2, 2 * slack)
    assert_same_law(shares(ours), shares(theirs), 0.01)


@pytest.mark.parametrize("name", LAWS)
def test_crops_and_flips_have_the_same_law(name: str) -> None:
    policy, size = LAWS[name]
    alone = replace(policy, jitter_p=0.0, grey_p=0.0, blur_p=0.0, solarize_p=0.0, rotate_degrees=0.0, noise_std=0.0)
    # Where a pixel lies is its colour, so that a view shows where it was cut from.
    ramp = torch.linspace(0, 255, SIZE).to(torch.uint8)
    image = torch.stack([ramp.expand(SIZE, SIZE), ramp[:, None].expand(SIZE, SIZE)])
    images = image.repeat(BATCH, 1, 1, 1)

    def places(views: Tensor) -> Tensor:
        spread = views.std((2, 3))
        where = torch.cat([views.mean((2, 3)), spread, spread.prod(1, keepdim=True)], 1)
        return torch.cat([where, where**2, (views[:, 0, 0, 0] > views[:, 0, 0, -1]).float()[:, None]], 1)

    ours, theirs = batched(images, alone, size), reference(images, alone, size)
    assert_same_law(places(ours), places(theirs), 0.5 / 255)
    flipped = float((ours[:, 0, 0, 0] > ours[:, 0, 0, -1]).float().mean())
    assert abs(flipped - policy.flip_p) < 0.07


def test_a_reference_view_depends_neither_on_the_other_images_nor_on_the_other_views() -> None:
    images = pictures()
    policy = POLICIES["asymmetric"].view2
    first, second = (ViewDraw(policy, SIZE, (3, "augment", 0, 0, view, 0)) for view in range(2))
    index = torch.arange(BATCH)
    anchor, *both = reference_views(images, (index, (first, second)))
    assert torch.equal(anchor, images)
    assert torch.equal(reference_views(images, (index, (second,)))[1], both[1])
    others = images.flip(0)
    others[0] = images[0]
    assert torch.equal(reference_views(others, (index, (first,)))[1][0], both[0][0])


def test_a_reference_policy_that_does_nothing_gives_the_image_back() -> None:
    images = pictures()
    plain = ViewPolicy(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip_p=0.0, grey_p=0.0)
    views = reference_views(images, (torch.arange(BATCH), (ViewDraw(plain, SIZE, (0,)),)))[1]
    torch.testing.assert_close(views, images / 255)
