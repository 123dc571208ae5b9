import pytest
import torch
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional as reference

from dsabench.data.views.resampling import (
    Boxes,
    blur_kernel,
    blur_weights,
    draw_boxes,
    fit_boxes,
    resample,
    resize_weights,
    rotate,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width", "out"), [(8, 8, 8), (32, 32, 32), (96, 96, 96), (20, 33, 16), (9, 9, 24)])
def test_crop_and_resize_are_torchvisions(height: int, width: int, out: int) -> None:
    images = torch.rand(64, 3, height, width, generator=generator())
    boxes = random_boxes(64, height, width, (0.02, 1.0), (0.5, 2.0), generator(1))
    flip = torch.rand(64, generator=generator(2)) < 0.5
    rows = resize_weights(boxes.top, boxes.height, height, out)
    columns = resize_weights(boxes.left, boxes.width, width, out, reverse=flip)
    ours = resample(images, rows, columns)
    for image, top, left, h, w, flipped, mine in zip(images, *boxes, flip, ours, strict=True):
        cut = reference.crop(image, int(top), int(left), int(h), int(w))
        expected = reference.resize(cut, [out, out], InterpolationMode.BILINEAR, antialias=True)
        expected = expected.flip(-1) if flipped else expected
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("scale", "ratio"), [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.6, 1.0), (0.5, 3.0))])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 90)])
def test_crops_follow_the_law_of_random_resized_crop(
    scale: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> None:
    ours = torch.stack(random_boxes(40_000, height, width, scale, ratio, generator()))
    image = torch.empty(3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        drawn = [RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(4000)]
    theirs = torch.tensor(drawn, dtype=torch.float32).T
    for power in (1, 2):
        a, b = ours**power, theirs**power
        error = (a.var(1) / a.shape[1] + b.var(1) / b.shape[1]).sqrt()
        assert ((a.mean(1) - b.mean(1)).abs() < 4 * error).all()
    area, other = ours[2] * ours[3], theirs[2] * theirs[3]
    assert abs(area.mean() - other.mean()) < 4 * (other.var() / len(other)).sqrt()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 60), (60, 20)])
def test_crops_that_never_fit_fall_back_to_the_centre(height: int, width: int) -> None:
    boxes = random_boxes(3, height, width, (5.0, 6.0), (3 / 4, 4 / 3), generator())
    expected = RandomResizedCrop.get_params(torch.empty(3, height, width), [5.0, 6.0], [3 / 4, 4 / 3])
    for image in range(3):
        assert tuple(int(side[image]) for side in boxes) == expected


def random_boxes(
    batch: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> Boxes:
    return fit_boxes(draw_boxes(batch, generator), height, width, scale, ratio)


def test_crops_stay_inside() -> None:
    boxes = random_boxes(50_000, 8, 8, (0.01, 1.0), (0.3, 3.0), generator())
    assert min(boxes.top.min(), boxes.left.min()) == 0
    assert min(boxes.height.min(), boxes.width.min()) == 1
    assert (boxes.top + boxes.height).max() == 8
    assert (boxes.left + boxes.width).max() == 8


@pytest.mark.parametrize("size", [8, 32, 96])
def test_blur_is_torchvisions(size: int) -> None:
    images = torch.rand(6, 3, size, size, generator=generator())
    sigma = torch.tensor([0.1, 0.4, 0.8, 1.2, 1.6, 2.0])
    weights = blur_weights(sigma, size)
    kernel = [blur_kernel(size)] * 2
    expected = [reference.gaussian_blur(image, kernel, [float(s)] * 2) for image, s in zip(images, sigma, strict=True)]
    torch.testing.assert_close(resample(images, weights, weights), torch.stack(expected), atol=1e-5, rtol=0)


def test_blur_kernel_is_a_tenth_of_the_side() -> None:
    assert [blur_kernel(size) for size in (8, 32, 96, 224)] == [3, 3, 9, 23]


def test_rotation_is_torchvisions_and_a_quarter_turn_is_exact() -> None:
    images = torch.rand(3, 1, 9, 9, generator=generator())
    turned = rotate(images, torch.tensor([90.0, -30.0, 12.0]))
    torch.testing.assert_close(turned[0], images[0].rot90(1, (1, 2)), atol=1e-5, rtol=0)
    for position, degrees in ((1, -30.0), (2, 12.0)):
        expected = reference.rotate(images[position], degrees, InterpolationMode.BILINEAR)
        torch.testing.assert_close(turned[position], expected, atol=1e-4, rtol=0)


def test_rotation_of_an_oblong_image_turns_pixels_and_does_not_shear() -> None:
    image = torch.rand(1, 1, 12, 20, generator=generator())
    expected = reference.rotate(image[0], 25.0, InterpolationMode.BILINEAR)
    torch.testing.assert_close(rotate(image, torch.tensor([25.0]))[0], expected, atol=1e-4, rtol=0)
