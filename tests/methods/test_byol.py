import copy

import pytest
import torch
from kit import build, check, step, unit, views
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


def test_a_step_moves_the_student_by_gradient_and_the_teacher_by_momentum() -> None:
    # In float64: a tenth of some of these steps is less than float32 resolves.
    method = build(BYOL, **OPTIONS).double()
    teacher = method.teacher_projector.layers[0].weight.clone()
    by_gradient, by_momentum = step(method, views(dtype=torch.float64), progress=0.5)
    assert by_gradient == {"backbone", "projector", "predictor"}
    assert by_momentum == {"teacher_backbone", "teacher_projector"}
    # Half way from 0.8 to 1.
    student = method.projector.layers[0].weight
    torch.testing.assert_close(method.teacher_projector.layers[0].weight, 0.9 * teacher + 0.1 * student)


def test_an_option_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="momentum must lie in"):
        build(BYOL, **OPTIONS | {"momentum": 1.5})
