import copy
from typing import Any

import pytest
import torch
from kit import build, check, step, unit, views
from torch import Tensor

from dsabench.data.views.policies import POLICIES
from dsabench.methods.ressl import RECIPES, ReSSL, relational_loss

OPTIONS: dict[str, Any] = {
    "hidden_dim": 12,
    "output_dim": 7,
    "temperature": 0.2,
    "teacher_temperature": 0.08,
    "queue_size": 20,
    "momentum": 0.8,
    "final_momentum": 1.0,
}


def written_out(student: Tensor, teacher: Tensor, queue: Tensor) -> Tensor:
    losses = []
    for s, t in zip(student, teacher, strict=True):
        teacher_shares = torch.stack([torch.exp(t @ entry / 0.08) for entry in queue])
        student_shares = torch.stack([torch.exp(s @ entry / 0.2) for entry in queue])
        teacher_shares, student_shares = teacher_shares / teacher_shares.sum(), student_shares / student_shares.sum()
        losses.append(-sum(p * torch.log(q) for p, q in zip(teacher_shares, student_shares, strict=True)))
    return torch.stack(losses).mean()


def target_of(method: ReSSL, seed: int = 0) -> Tensor:
    """The unit embeddings of the weak view, from a copy of the teacher."""
    backbone, projector = copy.deepcopy(method.teacher_backbone), copy.deepcopy(method.teacher_projector)
    return unit(projector(backbone(views(seed=seed).view1)).detach())


def test_the_loss_is_the_formula_and_so_is_its_gradient() -> None:
    draw = torch.Generator().manual_seed(0)
    student, teacher, queue = (unit(torch.randn(n, 5, generator=draw, dtype=torch.float64)) for n in (6, 6, 9))
    student.requires_grad_()
    loss = relational_loss(student, teacher, queue, temperature=0.2, teacher_temperature=0.08)
    expected = written_out(student, teacher, queue)
    assert abs(float(loss.detach() - expected.detach())) < 1e-9
    found, wanted = (torch.autograd.grad(value, student)[0] for value in (loss, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_the_strong_view_learns_from_the_teachers_weak_view_and_the_queue_before_it() -> None:
    method = build(ReSSL, **OPTIONS)
    target, queue = target_of(method).double(), method.queue.bank.double().clone()
    check(method(views()), lambda z1, z2: written_out(unit(z2), target, queue), tolerance=1e-5)


def test_the_queue_takes_the_teachers_embeddings_and_wraps_around() -> None:
    method = build(ReSSL, **OPTIONS)
    targets = [target_of(method, seed) for seed in range(4)]
    for seed in range(3):
        method(views(seed=seed))
    torch.testing.assert_close(method.queue.bank, torch.cat([targets[0], targets[1], targets[2][:4]]))
    method(views(seed=3))
    torch.testing.assert_close(method.queue.bank, torch.cat([targets[3], targets[1], targets[2][:4]]))
    kept = method.queue.bank.clone()
    method.eval()(views(seed=4))
    assert torch.equal(method.queue.bank, kept)


def test_a_step_moves_the_student_by_gradient_and_the_teacher_by_momentum() -> None:
    method = build(ReSSL, **OPTIONS)
    teacher = method.teacher_projector.layers[0].weight.clone()
    assert step(method, views(), progress=0.5) == ({"backbone", "projector"}, {"teacher_backbone", "teacher_projector"})
    # Half way from 0.8 to 1.
    student = method.projector.layers[0].weight
    torch.testing.assert_close(method.teacher_projector.layers[0].weight, 0.9 * teacher + 0.1 * student)


@pytest.mark.parametrize("scale", RECIPES)
def test_a_recipes_first_view_is_the_weak_one(scale: str) -> None:
    weak, strong, _ = POLICIES[RECIPES[scale].views]
    assert not any(weak.jitter) or weak.jitter_p == 0
    assert (weak.grey_p, weak.blur_p, weak.solarize_p, weak.rotate_degrees, weak.noise_std) == (0, 0, 0, 0, 0)
    assert any(strong.jitter)
    assert strong.jitter_p > 0


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("temperature", 0.0, "temperature must be above 0"),
        ("teacher_temperature", -0.1, "teacher_temperature must be above 0"),
        ("queue_size", 0, "queue_size must be above 0"),
        ("momentum", 2.0, "momentum must lie in"),
        ("final_momentum", -1.0, "final_momentum must lie in"),
    ],
)
def test_options_that_cannot_be(option: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(ReSSL, **OPTIONS | {option: value})
