import copy

import pytest
import torch
from kit import build, check, info_nce, step, views
from torch import Tensor

from dsabench.methods.moco_v3 import MoCoV3

OPTIONS = {"hidden_dim": 12, "output_dim": 7, "predictor_dim": 9, "temperature": 0.3, "momentum": 0.8}


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    method = build(MoCoV3, **OPTIONS).double()
    batch = views(dtype=torch.float64)
    predictor, backbone, projector = (
        copy.deepcopy(module) for module in (method.predictor, method.teacher_backbone, method.teacher_projector)
    )
    k1, k2 = projector(backbone(torch.cat(batch[1:3]))).detach().chunk(2)

    def reference(z1: Tensor, z2: Tensor) -> Tensor:
        q1, q2 = predictor(torch.cat([z1, z2])).chunk(2)
        return 2 * 0.3 * (info_nce(q1, k2, 0.3) + info_nce(q2, k1, 0.3))

    check(method(batch), reference)


def test_a_step_moves_the_student_by_gradient_and_the_teacher_by_momentum() -> None:
    method = build(MoCoV3, **OPTIONS)
    teacher = method.teacher_projector.layers[0].weight.clone()
    by_gradient, by_momentum = step(method, views(), progress=0.5)
    assert by_gradient == {"backbone", "projector", "predictor"}
    assert by_momentum == {"teacher_backbone", "teacher_projector"}
    # Half way from 0.8 to 1.
    student = method.projector.layers[0].weight
    torch.testing.assert_close(method.teacher_projector.layers[0].weight, 0.9 * teacher + 0.1 * student)


def test_the_teacher_rests_at_the_end_and_shares_the_students_statistics() -> None:
    method = build(MoCoV3, **OPTIONS)
    method(views())
    weight = method.teacher_backbone[0].weight.clone()
    method.after_step(1.0)
    assert torch.equal(method.teacher_backbone[0].weight, weight)
    assert torch.equal(method.teacher_backbone[1].running_mean, method.backbone[1].running_mean)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("temperature", 0.0, "temperature must be above 0"),
        ("predictor_dim", 0, "predictor_dim must be above 0"),
        ("momentum", -0.5, "momentum must lie in"),
    ],
)
def test_options_that_cannot_be(option: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(MoCoV3, **OPTIONS | {option: value})
