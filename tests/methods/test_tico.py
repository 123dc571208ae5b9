import math
from typing import Any

import pytest
import torch
from kit import agree, build, step, views
from torch import Tensor

from dsabench.methods.tico import RECIPES, TiCo

BETA, RHO = 0.8, 5.0


def formula(z: Tensor, target: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of pairs (N, P), and the second moment after them; no gradient flows through the moment."""
    z = z / z.norm(dim=1, keepdim=True)
    target = target / target.norm(dim=1, keepdim=True)
    batch = sum(torch.outer(row, row) for row in z.detach()) / len(z)
    memory = BETA * memory + (1 - BETA) * batch
    loss = sum(1 - z[b] @ target[b] + RHO * (z[b] @ memory @ z[b]) for b in range(len(z))) / len(z)
    return loss, memory


@pytest.fixture
def method() -> Any:
    return build(TiCo, RECIPES["tiny"].options, output_dim=6, beta=BETA, rho=RHO, momentum=0.9)


def test_the_loss_is_the_papers(method: Any) -> None:
    z, target = torch.randn(2, 10, 6, generator=torch.Generator().manual_seed(0))
    memory = torch.cov(torch.randn(6, 20, generator=torch.Generator().manual_seed(1))).double()

    def ours(z: Tensor, target: Tensor) -> Tensor:
        method.double().loss.C.copy_(memory)
        return method.loss(z, target)

    agree(ours, lambda z, target: formula(z, target, memory)[0], z, target)


def test_both_directions_are_one_batch_and_the_memory_follows(method: Any) -> None:
    # Another teacher than the student, so that the directions differ.
    with torch.no_grad():
        for p in method.teacher_projector.parameters():
            p.mul_(1.3).add_(0.1)
    memory = torch.zeros(6, 6, dtype=torch.float64)
    for seed in range(3):
        batch = views(16, seed)
        out = method(batch)
        with torch.no_grad():
            images = torch.cat([batch.view1, batch.view2])
            target1, target2 = method.teacher_projector(method.teacher_backbone(images)).chunk(2)
        pairs = torch.cat([out.z1, out.z2]).double(), torch.cat([target2, target1]).double()
        expected, memory = formula(*pairs, memory)
        torch.testing.assert_close(out.loss.double(), expected, rtol=1e-6, atol=0)
        torch.testing.assert_close(method.loss.C.double(), memory, rtol=0, atol=1e-7)


def test_the_memory_is_a_buffer(method: Any) -> None:
    method(views())
    buffers = dict(method.named_buffers())
    assert float(buffers["loss.C"].diagonal().sum()) == pytest.approx(1 - BETA, rel=1e-5)
    assert not buffers["loss.C"].requires_grad
    # Written in place, as a restored checkpoint is, it is the one that the next batch goes on from.
    buffers["loss.C"].zero_()
    method(views())
    assert float(dict(method.named_buffers())["loss.C"].diagonal().sum()) == pytest.approx(1 - BETA, rel=1e-5)


def test_a_step_moves_the_student_and_the_teacher_follows(method: Any) -> None:
    before = {name: p.clone() for name, p in method.named_parameters()}
    assert step(method, views(), 0.5) == ({"backbone", "projector"}, {"teacher_backbone", "teacher_projector"})
    # Half way from .9 to 1 on the cosine.
    momentum = 1 - 0.1 * (1 + math.cos(math.pi / 2)) / 2
    assert momentum == pytest.approx(0.95)
    student, teacher = "projector.layers.0.weight", "teacher_projector.layers.0.weight"
    after = dict(method.named_parameters())
    expected = momentum * before[teacher] + (1 - momentum) * after[student]
    torch.testing.assert_close(after[teacher], expected)


def test_no_gradient_reaches_the_teacher(method: Any) -> None:
    method(views()).loss.backward()
    for name, p in method.named_parameters():
        assert (p.grad is None) == name.startswith("teacher_"), name


def test_options_that_cannot_be_are_refused() -> None:
    for bad in ({"beta": 1.1}, {"rho": -1.0}, {"momentum": 1.5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            build(TiCo, RECIPES["tiny"].options, **bad)
