import pytest
import torch
from kit import build, check, step, unit, views
from lightly.loss import MMCRLoss
from torch import Tensor

from dsabench.methods.mmcr import MMCR, mmcr_loss

OPTIONS = {"hidden_dim": 12, "output_dim": 7, "lmda": 0.3}


def nuclear(matrix: Tensor) -> Tensor:
    """The sum of the singular values: the trace of the root of A A^T."""
    return torch.linalg.eigvalsh(matrix @ matrix.T).clamp_min(1e-30).sqrt().sum()


def written_out(z1: Tensor, z2: Tensor, lmda: float) -> Tensor:
    """-||C||_* + lambda / N sum_b ||Z_b||_* of arXiv 2303.03307, eq. 4."""
    u1, u2 = unit(z1), unit(z2)
    own = [nuclear(torch.stack([u1[b], u2[b]])) for b in range(len(u1))]
    return -nuclear(((u1 + u2) / 2).T) + lmda * torch.stack(own).mean()


@pytest.mark.parametrize("lmda", [0.0, 0.3])
def test_loss_and_gradient_are_those_of_the_paper(lmda: float) -> None:
    output = build(MMCR, **OPTIONS | {"lmda": lmda}).double()(views(12, dtype=torch.float64))
    check(output, lambda z1, z2: written_out(z1, z2, lmda))


def test_it_is_lightlys_loss() -> None:
    z1, z2 = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0))
    expected = MMCRLoss(0.3)(unit(z1)[:, None], unit(z2)[:, None])
    torch.testing.assert_close(mmcr_loss(z1, z2, 0.3), expected)


def test_the_least_loss_is_that_of_equal_views_along_orthogonal_axes() -> None:
    # N images of P dimensions: the nuclear norm of N unit rows is at most sqrt(N P), for N a multiple of P.
    axes = torch.eye(4).repeat(3, 1)
    assert mmcr_loss(axes, 2 * axes, 0.0) == pytest.approx(-((12 * 4) ** 0.5))
    assert mmcr_loss(axes, axes.roll(1, 0), 0.0) > mmcr_loss(axes, axes, 0.0)
    assert mmcr_loss(torch.ones(12, 4), torch.ones(12, 4), 0.0) == pytest.approx(-(12**0.5))


def test_a_step_moves_everything() -> None:
    assert step(build(MMCR, **OPTIONS), views(12)) == ({"backbone", "projector"}, set())


def test_the_weight_of_the_views_norm_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="lmda must be >= 0"):
        build(MMCR, **OPTIONS | {"lmda": -0.1})
