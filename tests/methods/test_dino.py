import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dsabench.methods.dino import DINO, RECIPES

P, K = 6, 5


def cosines(z: Tensor, weight: Tensor) -> Tensor:
    return (z / z.norm(dim=1, keepdim=True)) @ (weight / weight.norm(dim=1, keepdim=True)).T


def formula(
    student: list[Tensor],
    teacher: list[Tensor],
    weight: Tensor,
    teacher_weight: Tensor,
    center: Tensor,
    teacher_t: float,
) -> Tensor:
    """Equation 3: the teacher's views against every other crop of the student, a mean over the pairs."""
    losses = []
    for i, seen in enumerate(teacher):
        target = torch.softmax((cosines(seen, teacher_weight) - center) / teacher_t, dim=1).detach()
        for j, crop in enumerate(student):
            if i != j:
                losses.append(-(target * torch.log_softmax(cosines(crop, weight) / 0.2, dim=1)).sum(1).mean())
    return torch.stack(losses).mean()


@pytest.fixture
def make(make_method: Any) -> Any:
    def build(**changes: object) -> Any:
        options: dict[str, object] = {
            "output_dim": P,
            "prototypes": K,
            "student_temperature": 0.2,
            "warmup_teacher_temperature": 0.05,
            "teacher_temperature": 0.08,
            "warmup_share": 0.5,
            "center_momentum": 0.8,
            "frozen_share": 0.0,
            "momentum": 0.9,
        }
        return make_method(DINO, RECIPES["tiny"], **{**options, **changes})

    return build


def embeddings(count: int, batch: int = 12) -> list[Tensor]:
    return list(torch.randn(count, batch, P, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("crops", [0, 3])
def test_loss_and_gradients_are_the_papers(crops: int, make: Any, flattened: Any, flat_views: Any) -> None:
    method = flattened(make()).double()
    with torch.no_grad():
        method.teacher_last_layer.weight.add_(torch.randn(K, P, generator=torch.Generator().manual_seed(3)))
        method.loss.center.copy_(torch.linspace(-0.2, 0.3, K))
    center, teacher_weight = method.loss.center.double().flatten(), method.teacher_last_layer.weight.double()
    views = flat_views(*(z.double() for z in embeddings(2 + crops)))
    out = method(views)
    out.loss.backward()
    weight = method.last_layer.weight.detach().double().requires_grad_()
    zs = [z.double().requires_grad_() for z in embeddings(2 + crops)]
    expected = formula(zs, zs[:2], weight, teacher_weight, center, 0.05)
    expected.backward()
    torch.testing.assert_close(out.loss.double(), expected.detach(), rtol=1e-6, atol=0)
    for image, z in zip((views.view1, views.view2, *views.locals), zs, strict=True):
        torch.testing.assert_close(image.grad.flatten(1).double(), z.grad, rtol=1e-6, atol=1e-9)  # type: ignore[union-attr]
    torch.testing.assert_close(method.last_layer.weight.grad.double(), weight.grad, rtol=1e-6, atol=1e-9)
    # The center follows the teacher's mean output over both views (eq. 4).
    mean = torch.cat([cosines(z, teacher_weight) for z in zs[:2]]).mean(0)
    torch.testing.assert_close(method.loss.center.double().flatten(), 0.8 * center + 0.2 * mean.detach())


def test_the_teachers_temperature_warms_up_with_progress(make: Any, make_views: Any) -> None:
    method, seen = make(), []
    for progress in (0.125, 0.25, 0.5, 0.75, 1.0):
        seen.append(float(method.loss.teacher_temp_schedule))
        method.after_step(progress)
    assert seen == pytest.approx([0.05, 0.0575, 0.065, 0.08, 0.08])
    assert "loss.teacher_temp_schedule" in dict(method.named_buffers())
    assert float(make(warmup_share=0.0).loss.teacher_temp_schedule) == pytest.approx(0.08)
    # It is the temperature in use: a restored buffer changes the loss.
    loss = method(make_views()).loss
    method.loss.center.zero_()
    method.loss.teacher_temp_schedule.fill_(0.5)
    assert method(make_views()).loss != loss


def test_a_step_moves_the_student_and_the_teacher_follows(make: Any, make_views: Any, moved_by_a_step: Any) -> None:
    method = make()
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    moved = moved_by_a_step(method, make_views(crops=2), 0.25)
    assert moved == {name for name, _ in method.named_parameters()}
    after = dict(method.named_parameters())
    momentum = 1 - 0.1 * (1 + math.cos(math.pi / 4)) / 2
    for student in ("backbone.0.weight", "projector.layers.0.weight", "last_layer.weight"):
        expected = momentum * before[f"teacher_{student}"] + (1 - momentum) * after[student]
        torch.testing.assert_close(after[f"teacher_{student}"], expected)


def test_no_gradient_reaches_the_teacher(make: Any, make_views: Any) -> None:
    method = make()
    method(make_views(crops=1)).loss.backward()
    for name, p in method.named_parameters():
        assert (p.grad is None) == name.startswith("teacher_"), name


def test_the_last_layer_is_frozen_for_its_share_of_training(make: Any, make_views: Any, moved_by_a_step: Any) -> None:
    method = make(frozen_share=0.4)
    moved = [moved_by_a_step(method, make_views(seed=step), step / 5) for step in range(1, 5)]
    student = {name for name, p in method.named_parameters() if p.requires_grad}
    assert [student - names for names in moved] == [{"last_layer.weight"}, {"last_layer.weight"}, set(), set()]


def test_the_teacher_sees_no_small_crop(make: Any, make_views: Any) -> None:
    method, sizes = make(), []
    method.teacher_backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape))
    method.backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape))
    out = method(make_views(crops=3))
    assert sizes == [(32, 1, 8, 8), (48, 1, 4, 4), (32, 1, 8, 8)]
    assert out.z1.shape == (16, P)


def test_options_that_cannot_be_are_refused(make: Any) -> None:
    bad_options: list[dict[str, float]] = [
        {"student_temperature": 0.0},
        {"teacher_temperature": -0.1},
        {"warmup_teacher_temperature": 0.0},
        {"prototypes": 1},
        {"momentum": 1.1},
        {"center_momentum": -0.1},
        {"frozen_share": 2.0},
        {"warmup_share": -0.5},
    ]
    for bad in bad_options:
        with pytest.raises(ValueError, match=next(iter(bad))):
            make(**bad)
