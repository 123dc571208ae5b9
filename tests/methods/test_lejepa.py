import math
from itertools import pairwise

import pytest
import torch
from kit import build, check, step, views
from lightly.loss import LeJEPALoss
from torch import Tensor

from dsabench.methods.lejepa import RECIPES, LeJEPA

OPTIONS = {"hidden_dim": 12, "output_dim": 7, "lambda_param": 0.05, "slices": 9}


def directions() -> Tensor:
    """The directions that the loss draws next, (7, 9)."""
    torch.manual_seed(11)
    drawn = torch.randn(7, 9, dtype=torch.float64)
    torch.manual_seed(11)
    return drawn / drawn.norm(dim=0)


def epps_pulley(x: Tensor) -> Tensor:
    """N times the integral of |ecf(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) over [-3, 3], by trapezia of width 3/16, of
    samples x (N,) (arXiv 2511.08544, section 4.2)."""
    knots = [3 * k / 16 for k in range(-16, 17)]
    values = []
    for t in knots:
        normal = math.exp(-t * t / 2)
        real, imaginary = torch.cos(t * x).mean() - normal, torch.sin(t * x).mean()
        values.append((real**2 + imaginary**2) * normal)
    return len(x) * sum((a + b) / 2 * 3 / 16 for a, b in pairwise(values))


def written_out(large: list[Tensor], small: list[Tensor], along: Tensor, weight: float = 0.05) -> Tensor:
    every = [*large, *small]
    centre = (large[0] + large[1]) / 2
    prediction = sum((z - centre).square().mean() for z in every) / len(every)
    statistics = [epps_pulley(z @ direction) for z in every for direction in along.T]
    return weight * sum(statistics) / len(statistics) + (1 - weight) * prediction


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    method = build(LeJEPA, **OPTIONS).double()
    along = directions()
    check(method(views(dtype=torch.float64)), lambda z1, z2: written_out([z1, z2], [], along))


def test_with_small_crops_it_is_lightlys_loss() -> None:
    method = build(LeJEPA, RECIPES["tiny"].options, slices=9)
    batch = views(batch=16, crops=3)
    torch.manual_seed(5)
    output = method(batch)
    features = [method.backbone(torch.cat([batch.view1, batch.view2])), method.backbone(torch.cat(batch.locals))]
    z1, z2, *small = method.projector(torch.cat(features)).split(16)
    torch.testing.assert_close(z1, output.z1)
    torch.manual_seed(5)
    expected = LeJEPALoss(sigreg_num_vectors=9)(local_proj=torch.stack(small), global_proj=torch.stack([z1, z2]))
    torch.testing.assert_close(output.loss, expected)


def test_the_directions_are_drawn_anew_at_every_step() -> None:
    method = build(LeJEPA, **OPTIONS).eval()
    losses = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        losses.append(float(method(views()).loss.detach()))
    assert losses[0] == losses[2] != losses[1]


def test_a_step_moves_everything() -> None:
    assert step(build(LeJEPA, **OPTIONS), views()) == ({"backbone", "projector"}, set())


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("slices", 0, "slices must be above 0"), ("lambda_param", 1.5, "lambda_param must lie in")],
)
def test_options_that_cannot_be(option: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(LeJEPA, **OPTIONS | {option: value})
