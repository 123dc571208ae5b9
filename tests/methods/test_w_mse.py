from typing import Any

import pytest
import torch
from kit import agree, build, step, views
from lightly.loss import WMSELoss
from torch import Tensor

from dsabench.errors import UsageError
from dsabench.methods.w_mse import RECIPES, WMSE, whiten


@pytest.fixture
def method() -> Any:
    return build(WMSE, RECIPES["tiny"].options, output_dim=4, whitening_size=10, slicings=1)


def drawn(views: int, batch: int, dim: int = 4) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    return torch.randn(views, batch, dim, generator=draw) @ torch.randn(dim, dim, generator=draw) + 1.0


def formula(z1: Tensor, z2: Tensor, sizes: list[int]) -> Tensor:
    """Each slice whitened with W such that W.T W is the inverse of its covariance, then 2 - 2 cos."""
    order = torch.randperm(len(z1))
    cosines = []
    for index in order.split(sizes):
        white = []
        for z in (z1[index], z2[index]):
            inverse_root = torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T)))
            white.append(torch.stack([inverse_root @ (row - z.mean(0)) for row in z]))
        cosines += [torch.cosine_similarity(a, b, dim=0) for a, b in zip(*white, strict=True)]
    return 2 - 2 * torch.stack(cosines).mean()


def seeded(function: Any) -> Any:
    def call(*tensors: Tensor) -> Tensor:
        torch.manual_seed(3)
        return function(*tensors)

    return call


@pytest.mark.parametrize("batch", [10, 20, 40])
def test_the_loss_is_the_papers(method: Any, batch: int) -> None:
    z = drawn(2, batch)
    ours = seeded(lambda z1, z2: method.loss(torch.stack([z1, z2])))
    agree(ours, seeded(lambda z1, z2: formula(z1, z2, [10] * (batch // 10))), z[0], z[1])


def test_it_is_lightlys_where_the_slices_are_equal() -> None:
    z = drawn(2, 40)
    method = build(WMSE, RECIPES["tiny"].options, output_dim=4, whitening_size=10, slicings=3)
    theirs = WMSELoss(embedding_dim=4, w_size=10, w_iter=3)
    torch.testing.assert_close(seeded(method.loss)(z), seeded(theirs)(z.flatten(0, 1)), rtol=1e-5, atol=0)


def test_slices_of_another_batch_are_as_equal_as_can_be(method: Any) -> None:
    z = drawn(2, 35)
    ours = seeded(lambda z1, z2: method.loss(torch.stack([z1, z2])))
    agree(ours, seeded(lambda z1, z2: formula(z1, z2, [12, 12, 11])), z[0], z[1])


def test_more_slicings_are_averaged() -> None:
    z = drawn(2, 20).double()
    one, three = (build(WMSE, RECIPES["tiny"].options, output_dim=4, whitening_size=10, slicings=n) for n in (1, 3))
    torch.manual_seed(0)
    single = torch.stack([one.loss(z) for _ in range(3)])
    torch.manual_seed(0)
    torch.testing.assert_close(three.loss(z), single.mean())
    assert single.unique().numel() == 3


def test_whitened_is_white_whatever_the_embeddings_were() -> None:
    z = drawn(3, 50).double()
    white = whiten(z)
    for part in white:
        torch.testing.assert_close(torch.cov(part.T), torch.eye(4, dtype=torch.float64))
        torch.testing.assert_close(part.mean(0), torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(whiten(3 * z + 1), white)


def test_a_collapse_is_a_loss_that_is_not_finite_and_no_exception() -> None:
    z = drawn(1, 20)
    z[..., 3] = z[..., 2]
    z[..., 1] = 0.0
    assert whiten(z).isnan().all()


def test_a_step_moves_everything(method: Any) -> None:
    assert step(method, views(20)) == ({"backbone", "projector"}, set())


def test_sizes_that_cannot_be_are_refused(method: Any) -> None:
    with pytest.raises(ValueError, match=r"at least twice output_dim \(32\), got 40"):
        build(WMSE, RECIPES["tiny"].options, whitening_size=40)
    with pytest.raises(ValueError, match="slicings must be above 0"):
        build(WMSE, RECIPES["tiny"].options, slicings=0)
    with pytest.raises(UsageError, match="whitening_size 10 does not fit into a batch of 9 images"):
        method(views(9))
