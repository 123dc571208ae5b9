from typing import Any

import pytest
import torch
from kit import agree, build, step, views
from torch import Tensor

from dsabench.methods.vicreg import RECIPES, VICReg

SIM, VAR, COV = 25.0, 10.0, 3.0


def covariance(z: Tensor, i: int, j: int) -> Tensor:
    n = len(z)
    return sum((z[b, i] - z[:, i].mean()) * (z[b, j] - z[:, j].mean()) for b in range(n)) / (n - 1)


def formula(z1: Tensor, z2: Tensor) -> Tensor:
    """Equations 1 to 6, with the means that the published code takes."""
    n, d = z1.shape
    invariance = sum(((z1[b] - z2[b]) ** 2).sum() for b in range(n)) / (n * d)
    variance = torch.zeros((), dtype=z1.dtype)
    decorrelation = torch.zeros((), dtype=z1.dtype)
    for z in (z1, z2):
        for i in range(d):
            variance = variance + 0.5 * torch.clamp(1 - (covariance(z, i, i) + 1e-4).sqrt(), min=0) / d
            decorrelation = decorrelation + sum(covariance(z, i, j) ** 2 for j in range(d) if j != i) / d
    return SIM * invariance + VAR * variance + COV * decorrelation


@pytest.fixture
def method() -> Any:
    return build(VICReg, RECIPES["tiny"].options, output_dim=5, sim_weight=SIM, var_weight=VAR, cov_weight=COV)


def test_the_loss_is_the_papers(method: Any) -> None:
    # Some dimensions are below the hinge at 1 and some above.
    z = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(1)) * torch.tensor([0.3, 0.6, 1.0, 1.6, 2.0])
    agree(method.loss, formula, z[0], z[1])
    out = method(views())
    torch.testing.assert_close(out.loss.double(), formula(out.z1.double(), out.z2.double()), rtol=1e-5, atol=0)


def test_a_step_moves_everything(method: Any) -> None:
    assert step(method, views()) == ({"backbone", "projector"}, set())


def test_collapse_costs_the_whole_variance_term(method: Any) -> None:
    z = torch.ones(8, 5, dtype=torch.float64)
    assert float(method.loss(z, z)) == pytest.approx(VAR * (1 - 1e-4**0.5))


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="cov_weight must be >= 0"):
        build(VICReg, RECIPES["tiny"].options, cov_weight=-1.0)
