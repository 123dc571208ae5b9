import pytest
import torch
from kit import build, check, step, unit, views
from torch import Tensor

from dsabench.methods.dcl import DCL
from dsabench.methods.simclr import SimCLR

OPTIONS = {"hidden_dim": 12, "output_dim": 7, "temperature": 0.3}


def written_out(z1: Tensor, z2: Tensor) -> Tensor:
    """Eq. 6 of arXiv 2110.06848: the negatives are both views of every other image."""
    both = [unit(z1), unit(z2)]
    losses = []
    for view in (0, 1):
        for i in range(len(z1)):
            anchor = both[view][i]
            negatives = [torch.exp(anchor @ side[j] / 0.3) for side in both for j in range(len(z1)) if j != i]
            losses.append(-(anchor @ both[1 - view][i]) / 0.3 + torch.log(torch.stack(negatives).sum()))
    return torch.stack(losses).mean()


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    check(build(DCL, **OPTIONS).double()(views(dtype=torch.float64)), written_out)


def test_the_loss_alone_in_double_precision() -> None:
    z = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss, expected = build(DCL, **OPTIONS).loss(*z), written_out(*z)
    assert abs(float(loss.detach() - expected.detach())) < 1e-9
    found, wanted = (torch.autograd.grad(value, z, retain_graph=True)[0] for value in (loss, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_it_is_simclr_without_the_positive_in_the_denominator() -> None:
    # NT-Xent is -log p with p the positive's share, and leaving it out divides the denominator by 1 / (1 - p).
    plain = build(SimCLR, hidden_dim=12, output_dim=7, temperature=0.3)(views())
    z1, z2 = unit(plain.z1.detach().double()), unit(plain.z2.detach().double())
    both = torch.cat([z1, z2])
    weights = torch.exp(both @ both.T / 0.3).fill_diagonal_(0)
    shares = torch.exp((both * torch.cat([z2, z1])).sum(1) / 0.3) / weights.sum(1)
    expected = plain.loss.detach().double() + torch.log(1 - shares).mean()
    torch.testing.assert_close(build(DCL, **OPTIONS)(views()).loss.detach().double(), expected, rtol=1e-5, atol=1e-5)


def test_a_step_moves_everything() -> None:
    assert step(build(DCL, **OPTIONS), views()) == ({"backbone", "projector"}, set())


@pytest.mark.parametrize("value", [0.0, -0.5])
def test_the_temperature_must_be_positive(value: float) -> None:
    with pytest.raises(ValueError, match="temperature must be above 0"):
        build(DCL, **OPTIONS | {"temperature": value})
