import math
from typing import Any

import pytest
import torch
from kit import build, flat_views, flattened, step, views
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


def make(**changes: object) -> Any:
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
    return build(DINO, RECIPES["tiny"].options, **{**options, **changes})


def embeddings(count: int, batch: int = 12) -> list[Tensor]:
    return list(torch.randn(count, batch, P, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("crops", [0, 3])
def test_loss_and_gradients_are_the_papers(crops: int) -> None:
    method = flattened(make()).double()
    with torch.no_grad():
        method.teacher_last_layer.weight.add_(torch.randn(K, P, generator=torch.Generator().manual_seed(3)))
        method.loss.center.copy_(torch.linspace(-0.2, 0.3, K))
    center, teacher_weight = method.loss.center.double().flatten(), method.teacher_last_layer.weight.double()
    batch = flat_views(*(z.double() for z in embeddings(2 + crops)))
    out = method(batch)
    out.loss.backward()
    weight = method.last_layer.weight.detach().double().requires_grad_()
    zs = [z.double().requires_grad_() for z in embeddings(2 + crops)]
    expected = formula(zs, zs[:2], weight, teacher_weight, center, 0.05)
    expected.backward()
    torch.testing.assert_close(out.loss.double(), expected.detach(), rtol=1e-6, atol=0)
    for image, z in zip((batch.view1, batch.view2, *batch.locals), zs, strict=True):
        torch.testing.assert_close(image.grad.flatten(1).double(), z.grad, rtol=1e-6, atol=1e-9)  # type: ignore[union-attr]
    torch.testing.assert_close(method.last_layer.weight.grad.double(), weight.grad, rtol=1e-6, atol=1e-9)
    # The center follows the teacher's mean output over both views (eq. 4).
    mean = torch.cat([cosines(z, teacher_weight) for z in zs[:2]]).mean(0)
    torch.testing.assert_close(method.loss.center.double().flatten(), 0.8 * center + 0.2 * mean.detach())


def test_the_teachers_temperature_warms_up_with_progress() -> None:
    method, seen = make(), []
    for progress in (0.125, 0.25, 0.5, 0.75, 1.0):
        seen.append(float(method.loss.teacher_temp_schedule))
        method.after_step(progress)
    assert seen == pytest.approx([0.05, 0.0575, 0.065, 0.08, 0.08])
    assert "loss.teacher_temp_schedule" in dict(method.named_buffers())
    assert float(make(warmup_share=0.0).loss.teacher_temp_schedule) == pytest.approx(0.08)
    # It is the temperature in use: a restored buffer changes the loss.
    loss = method(views()).loss
    method.loss.center.zero_()
    method.loss.teacher_temp_schedule.fill_(0.5)
    assert method(views()).loss != loss


def test_a_step_moves_the_student_and_the_teacher_follows() -> None:
    method = make()
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    by_gradient, by_momentum = step(method, views(crops=2), 0.25)
    assert by_gradient == {"backbone", "projector", "last_layer"}
    assert by_momentum == {f"teacher_{name}" for name in by_gradient}
    after = dict(method.named_parameters())
    momentum = 1 - 0.1 * (1 + math.cos(math.pi / 4)) / 2
    for student in ("backbone.0.weight", "projector.layers.0.weight", "last_layer.weight"):
        expected = momentum * before[f"teacher_{student}"] + (1 - momentum) * after[student]
        torch.testing.assert_close(after[f"teacher_{student}"], expected)


def test_no_gradient_reaches_the_teacher() -> None:
    method = make()
    method(views(crops=1)).loss.backward()
    for name, p in method.named_parameters():
        assert (p.grad is None) == name.startswith("teacher_"), name


def test_the_last_layer_is_frozen_for_its_share_of_training() -> None:
    method = make(frozen_share=0.4)
    moved = [step(method, views(seed=i), i / 5)[0] for i in range(1, 5)]
    others = {"backbone", "projector"}
    assert moved == [others, others, others | {"last_layer"}, others | {"last_layer"}]


def test_the_teacher_sees_no_small_crop() -> None:
    method, sizes = make(), []
    method.teacher_backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape))
    method.backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape))
    out = method(views(16, crops=3))
    assert sizes == [(32, 1, 8, 8), (48, 1, 4, 4), (32, 1, 8, 8)]
    assert out.z1.shape == (16, P)


def test_options_that_cannot_be_are_refused() -> None:
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
