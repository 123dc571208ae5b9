import math

import pytest
import torch
from torch import nn

from dsabench.teachers import cosine_momentum, make_teacher, move_teachers


class Taught(nn.Module):
    """Two students with teachers, a module without one, and a stranger."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, 2)
        self.teacher_backbone, self.teacher_head = make_teacher(self.backbone), make_teacher(self.head)
        self.predictor = nn.Linear(2, 2)


def test_each_teacher_moves_towards_its_own_student_and_nothing_else_moves() -> None:
    torch.manual_seed(0)
    module = Taught()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape))
    module.backbone(torch.randn(8, 4))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    move_teachers(module, 0.75)
    for name, value in module.state_dict().items():
        student = before.get(name.removeprefix("teacher_"), before[name])
        parameter = name in dict(module.named_parameters())
        if name.startswith("teacher_") and value.is_floating_point():
            # Statistics are copied, so that a teacher in eval mode normalises with the student's.
            torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * student if parameter else student)
            assert not torch.equal(value, before[name])
        else:
            assert torch.equal(value, before[name]), name


def test_a_teacher_without_a_student_is_an_error() -> None:
    module = Taught()
    del module.head
    with pytest.raises(AttributeError, match="head"):
        move_teachers(module, 0.5)


def test_momentum_goes_from_start_to_end_on_half_a_cosine() -> None:
    assert [cosine_momentum(0.9, 1.0, share) for share in (0.0, 0.5, 1.0)] == pytest.approx([0.9, 0.95, 1.0])
    assert cosine_momentum(0.5, 0.7, 0.25) == pytest.approx(0.6 - 0.1 * math.sqrt(0.5))
    assert cosine_momentum(0.99, 0.99, 0.3) == pytest.approx(0.99)
