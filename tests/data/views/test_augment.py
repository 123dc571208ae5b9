from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dsabench.data.views.augment import augment
from dsabench.data.views.policies import POLICIES, ViewPolicy

PLAIN = ViewPolicy(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip_p=0.0, grey_p=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(batch: int = 2000, channels: int = 3, size: int = 8) -> Tensor:
    return torch.randint(0, 256, (batch, channels, size, size), dtype=torch.uint8, generator=generator(9))


def laws(name: str) -> list[ViewPolicy]:
    view1, view2, small = POLICIES[name]
    return [view1, view2] + ([small.policy] if small else [])


def share(marked: Tensor) -> float:
    return float(marked.float().mean())


def test_a_policy_that_does_nothing_gives_the_image_back() -> None:
    images = pixels()
    torch.testing.assert_close(augment(images, PLAIN, generator()), images / 255, atol=1e-6, rtol=0)
    torch.testing.assert_close(augment(images / 255, PLAIN, generator()), images / 255, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 24)])
def test_views_are_in_range_repeatable_and_of_the_size_asked_for(name: str, channels: int, size: int) -> None:
    for policy in laws(name):
        views = augment(pixels(64, channels, 16), policy, generator(), size)
        assert views.shape == (64, channels, size, size)
        assert views.dtype == torch.float32
        assert views.min() >= 0
        assert views.max() <= 1
        assert torch.equal(views, augment(pixels(64, channels, 16), policy, generator(), size))
        assert not torch.equal(views, augment(pixels(64, channels, 16), policy, generator(1), size))


@pytest.mark.parametrize("name", POLICIES)
def test_a_view_depends_neither_on_the_other_images_nor_on_threads(name: str) -> None:
    images = pixels(256, 3, 16)
    others = images.clone()
    others[1:] = 255 - others[1:]
    for policy in laws(name):
        views = augment(images, policy, generator())
        assert torch.equal(views[0], augment(others, policy, generator())[0])
        try:
            torch.set_num_threads(2)
            assert torch.equal(views, augment(images, policy, generator()))
        finally:
            torch.set_num_threads(1)


def test_flips_greys_and_solarized_images_have_their_share() -> None:
    images = pixels()
    unit = images / 255
    flipped = augment(images, replace(PLAIN, flip_p=0.5), generator())
    same, turned = ((flipped - other).abs().amax((1, 2, 3)) < 1e-5 for other in (unit, unit.flip(3)))
    assert torch.equal(same, ~turned)
    assert abs(share(turned) - 0.5) < 0.04

    grey = augment(images, replace(PLAIN, grey_p=0.2), generator())
    assert abs(share((grey[:, 0] == grey[:, 1]).all((1, 2))) - 0.2) < 0.03

    solarized = augment(images, replace(PLAIN, solarize_p=0.2), generator())
    assert abs(share((solarized < 0.51).all((1, 2, 3))) - 0.2) < 0.03


def test_jitter_touches_its_share_and_its_factors_are_uniform() -> None:
    images = torch.full((4000, 3, 2, 2), 0.5)
    policy = replace(PLAIN, jitter=(0.4, 0.0, 0.0, 0.0), jitter_p=0.8)
    factor = augment(images, policy, generator())[:, 0, 0, 0] / 0.5
    touched = (factor - 1).abs() > 1e-6
    assert abs(share(touched) - 0.8) < 0.03
    factor = factor[touched]
    assert 0.6 <= factor.min() < 0.61
    assert 1.39 < factor.max() <= 1.4
    assert abs(factor.mean() - 1) < 4 * 0.4 / (3 * len(factor)) ** 0.5


def test_the_jitter_order_differs_between_batches() -> None:
    # Darkening and then stretching differs from stretching and then darkening by the clamp alone.
    policy = replace(PLAIN, jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=1.0)
    images = pixels(8)
    views = {augment(images, policy, generator(seed)).numpy().tobytes() for seed in range(4)}
    assert len(views) == 4


def test_one_channel_skips_what_is_colour_only() -> None:
    images = pixels(50, 1)
    policy = replace(PLAIN, jitter=(0.0, 0.0, 0.4, 0.1), grey_p=1.0)
    torch.testing.assert_close(augment(images, policy, generator()), images / 255, atol=1e-6, rtol=0)


def test_noise_has_its_strength_and_blur_keeps_the_mean() -> None:
    flat = torch.full((500, 1, 8, 8), 0.5)
    noise = augment(flat, replace(PLAIN, noise_std=0.05), generator()) - 0.5
    assert abs(float(noise.std()) - 0.05) < 0.002
    torch.testing.assert_close(augment(flat, replace(PLAIN, blur_p=1.0), generator()), flat, atol=1e-5, rtol=0)


def test_rotation_turns_to_both_sides() -> None:
    images = torch.zeros(400, 1, 9, 9)
    images[:, :, 4, 8] = 1.0
    views = augment(images, replace(PLAIN, rotate_degrees=15.0), generator())
    up, down = views[:, 0, :4].sum((1, 2)), views[:, 0, 5:].sum((1, 2))
    assert abs(share(up > down) - 0.5) < 0.1
