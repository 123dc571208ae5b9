import pytest
import torch
from kit import build, check, step, views
from torch import Tensor

from dsabench.methods.barlow_twins import BarlowTwins

OPTIONS = {"hidden_dim": 12, "output_dim": 7, "lambda_param": 0.02, "scale": 0.3}
# What lightly adds to a variance under the root.
EPS = 1e-5


def written_out(z1: Tensor, z2: Tensor) -> Tensor:
    """Eq. 1 and 2 of arXiv 2103.03230, times the scale: columns standardised over the batch, then correlated."""
    columns = [(z - z.mean(0)) / ((z - z.mean(0)).square().mean(0) + EPS).sqrt() for z in (z1, z2)]
    total = torch.zeros((), dtype=z1.dtype)
    for i in range(z1.shape[1]):
        for j in range(z1.shape[1]):
            c = (columns[0][:, i] * columns[1][:, j]).mean()
            total = total + ((1 - c) ** 2 if i == j else 0.02 * c**2)
    return 0.3 * total


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    check(build(BarlowTwins, **OPTIONS).double()(views(dtype=torch.float64)), written_out)


def test_a_step_moves_everything() -> None:
    assert step(build(BarlowTwins, **OPTIONS), views()) == ({"backbone", "projector"}, set())


def test_an_option_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="scale must be above 0"):
        build(BarlowTwins, **OPTIONS | {"scale": 0.0})
