import copy

import pytest
import torch
from kit import build, check, step, unit, views
from torch import Tensor

from dsabench.methods.simsiam import SimSiam

OPTIONS = {"hidden_dim": 12, "output_dim": 7, "predictor_dim": 5}


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    method = build(SimSiam, **OPTIONS).double()
    predictor = copy.deepcopy(method.predictor)

    def reference(z1: Tensor, z2: Tensor) -> Tensor:
        p1, p2 = predictor(torch.cat([z1, z2])).chunk(2)
        d1 = -(unit(p1) * unit(z2.detach())).sum(1).mean()
        d2 = -(unit(p2) * unit(z1.detach())).sum(1).mean()
        return d1 / 2 + d2 / 2

    check(method(views(dtype=torch.float64)), reference)


def test_the_loss_alone_in_double_precision() -> None:
    p, z = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss = build(SimSiam, **OPTIONS).loss(p, z)
    assert abs(float(loss + (unit(p) * unit(z)).sum(1).mean())) < 1e-9


def test_without_the_predictors_path_no_gradient_reaches_the_embeddings() -> None:
    method = build(SimSiam, **OPTIONS)
    with torch.no_grad():
        for weight in method.predictor.parameters():
            weight.zero_()
        list(method.predictor.parameters())[-1].fill_(1.0)
    method(views()).loss.backward()
    assert all(not p.grad.any() for p in [*method.projector.parameters(), *method.backbone.parameters()])


def test_a_step_moves_everything() -> None:
    method = build(SimSiam, **OPTIONS)
    assert step(method, views()) == ({"backbone", "projector", "predictor"}, set())


@pytest.mark.parametrize("option", OPTIONS)
def test_sizes_must_be_positive(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be above 0"):
        build(SimSiam, **OPTIONS | {option: 0})
