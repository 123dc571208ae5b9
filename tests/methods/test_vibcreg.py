from typing import Any

import pytest
import torch
from kit import agree, build, step, views
from torch import Tensor

from dsabench.methods.vibcreg import RECIPES, IterNorm, VIbCReg, correlation_loss

SIM, VAR, COV = 20.0, 10.0, 100.0


def formula(z1: Tensor, z2: Tensor) -> Tensor:
    n, d = z1.shape
    total = SIM * (z1 - z2).square().sum() / (n * d)
    for z in (z1, z2):
        std = (((z - z.mean(0)) ** 2).sum(0) / (n - 1) + 1e-4).sqrt()
        total = total + VAR * torch.stack([torch.clamp(1 - s, min=0) for s in std]).mean()
        correlation = torch.corrcoef(z.T)
        total = total + COV * sum(correlation[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d**2
    return total


@pytest.fixture
def method() -> Any:
    return build(
        VIbCReg, RECIPES["tiny"].options, output_dim=8, norm_groups=2, sim_weight=SIM, var_weight=VAR, cov_weight=COV
    )


def mixed(batch: int, dim: int, seed: int = 1) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, dim, generator=draw) @ torch.randn(dim, dim, generator=draw) * 0.5 + 3.0


def test_the_loss_is_the_papers(method: Any) -> None:
    agree(method.loss, formula, mixed(12, 8), mixed(12, 8, seed=2))
    out = method(views())
    torch.testing.assert_close(out.loss.double(), formula(out.z1.double(), out.z2.double()), rtol=1e-5, atol=0)


def test_correlations_know_no_scale() -> None:
    z = mixed(20, 6).double()
    scaled = z * torch.arange(1, 7) + 2.0
    torch.testing.assert_close(correlation_loss(z), correlation_loss(scaled))
    same = z[:, :1].expand(-1, 4)
    assert float(correlation_loss(same)) == pytest.approx(12 / 16)


def newton(x: Tensor, group: int) -> Tensor:
    """Algorithm 1 of IterNorm, for columns of samples as published, group by group."""
    parts = []
    for columns in x.split(group, dim=1):
        data = columns.T
        centred = data - data.mean(1, keepdim=True)
        sigma = centred @ centred.T / data.shape[1] + 1e-5 * torch.eye(group, dtype=x.dtype)
        normed = sigma / torch.trace(sigma)
        p = torch.eye(group, dtype=x.dtype)
        for _ in range(5):
            p = 0.5 * (3 * p - torch.linalg.matrix_power(p, 3) @ normed)
        parts.append((p / torch.trace(sigma).sqrt() @ centred).T)
    return torch.cat(parts, dim=1)


def test_iterative_normalisation_is_the_papers() -> None:
    x = mixed(64, 8)
    weight = torch.randn(64, 8, generator=torch.Generator().manual_seed(3))
    layer = IterNorm(8, 2)
    ours, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    white, expected = layer(ours), newton(theirs, 4)
    torch.testing.assert_close(white.double(), expected, rtol=0, atol=1e-5)
    (white * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=0, atol=1e-4)  # type: ignore[union-attr]


def test_a_batch_comes_out_white_group_by_group() -> None:
    # Newton's five iterations are enough where the eigenvalues are near one another.
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(4000, 6, generator=draw) * torch.tensor([1.0, 1.3, 0.8, 1.0, 1.2, 0.9]) + 5.0
    white = IterNorm(6, 3)(x)
    for columns in white.split(2, dim=1):
        torch.testing.assert_close(torch.cov(columns.T), torch.eye(2), rtol=0, atol=0.02)
    torch.testing.assert_close(white.mean(0), torch.zeros(6), rtol=0, atol=1e-4)


def test_evaluation_uses_the_running_statistics_that_training_moves() -> None:
    layer, x = IterNorm(4, 1), mixed(64, 4)
    for _ in range(200):
        white = layer(x)
    layer.eval()
    state = {name: value.clone() for name, value in layer.named_buffers()}
    torch.testing.assert_close(layer(x), white, rtol=0, atol=1e-3)
    torch.testing.assert_close(layer(x[:3]), white[:3], rtol=0, atol=1e-3)
    assert all(torch.equal(value, state[name]) for name, value in layer.named_buffers())


def test_a_step_moves_everything(method: Any) -> None:
    assert step(method, views()) == ({"backbone", "projector"}, set())


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="norm_groups must divide output_dim, got 3 and 128"):
        build(VIbCReg, RECIPES["tiny"].options, norm_groups=3)
    with pytest.raises(ValueError, match="norm_groups must be above 0"):
        build(VIbCReg, RECIPES["tiny"].options, norm_groups=0)
    with pytest.raises(ValueError, match="must be >= 0"):
        build(VIbCReg, RECIPES["tiny"].options, sim_weight=-1.0)
