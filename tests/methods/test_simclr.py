import pytest
import torch
from kit import build, check, step, unit, views
from torch import Tensor

from dsabench.methods.simclr import SimCLR

OPTIONS = {"hidden_dim": 12, "output_dim": 7, "temperature": 0.3}


def written_out(z1: Tensor, z2: Tensor) -> Tensor:
    """NT-Xent of arXiv 2002.05709, eq. 1, averaged over both views of all images."""
    z, n, losses = unit(torch.cat([z1, z2])), len(z1), []
    for i in range(2 * n):
        shares = torch.stack([torch.exp(z[i] @ z[k] / 0.3) for k in range(2 * n) if k != i])
        losses.append(-torch.log(torch.exp(z[i] @ z[(i + n) % (2 * n)] / 0.3) / shares.sum()))
    return torch.stack(losses).mean()


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    check(build(SimCLR, **OPTIONS).double()(views(dtype=torch.float64)), written_out)


def test_a_step_moves_everything() -> None:
    assert step(build(SimCLR, **OPTIONS), views()) == ({"backbone", "projector"}, set())


def test_an_option_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="temperature must be above 0"):
        build(SimCLR, **OPTIONS | {"temperature": 0.0})
