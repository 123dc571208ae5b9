import copy

import pytest
import torch
from kit import build, check, unit, views
from torch import Tensor

from dsabench.methods.byol import BYOL

OPTIONS = {"hidden_dim": 12, "output_dim": 7, "predictor_dim": 9, "momentum": 0.8}


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    method = build(BYOL, **OPTIONS).double()
    batch = views(dtype=torch.float64)
    predictor, backbone, projector = (
        copy.deepcopy(module) for module in (method.predictor, method.teacher_backbone, method.teacher_projector)
    )
    t1, t2 = projector(backbone(torch.cat(batch[1:3]))).detach().chunk(2)

    def reference(z1: Tensor, z2: Tensor) -> Tensor:
        # Eq. 2, ||p - t||^2 of unit vectors = 2 - 2 cos for each view; the negative cosine is its half without the 1.
        p1, p2 = predictor(torch.cat([z1, z2])).chunk(2)
        squares = [(unit(p) - unit(t)).square().sum(1).mean() for p, t in ((p1, t2), (p2, t1))]
        return sum(squares) / 4 - 1

    check(method(batch), reference)


def test_the_gradient_reaches_the_student_alone_and_momentum_moves_the_teacher() -> None:
    method = build(BYOL, **OPTIONS)
    method(views()).loss.backward()
    students = {name: p for name, p in method.named_parameters() if not name.startswith("teacher_")}
    teachers = {name: p for name, p in method.named_parameters() if name.startswith("teacher_")}
    assert all(p.grad is not None and p.grad.any() for p in students.values())
    assert all(p.grad is None for p in teachers.values())
    with torch.no_grad():
        for p in students.values():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    before = {name: p.clone() for name, p in teachers.items()}
    method.after_step(0.5)
    for name, p in teachers.items():
        # Half way from 0.8 to 1.
        torch.testing.assert_close(p, 0.9 * before[name] + 0.1 * students[name.removeprefix("teacher_")])


def test_an_option_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="momentum must lie in"):
        build(BYOL, **OPTIONS | {"momentum": 1.5})
