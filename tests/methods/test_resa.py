import copy
import math

import pytest
import torch
from kit import build, check, step, unit, views
from torch import Tensor

from dsabench.methods.resa import ReSA

OPTIONS = {"hidden_dim": 12, "output_dim": 7, "temperature": 0.4, "epsilon": 0.1, "momentum": 0.9}


def sinkhorn(similarity: Tensor) -> Tensor:
    """Sinkhorn-Knopp of exp(S / epsilon), a transport plan with marginals 1/N and 1/M, its rows scaled to sum to 1."""
    n, m = similarity.shape
    plan = torch.exp(similarity / 0.1)
    plan = plan / plan.sum()
    for _ in range(3):
        plan = plan / (m * plan.sum(0, keepdim=True))
        plan = plan / (n * plan.sum(1, keepdim=True))
    return n * plan


def written_out(z: Tensor, targets: Tensor, assignments: Tensor) -> Tensor:
    """-1/m sum_ij A_ij log D(Z^T Z')_ij of arXiv 2501.18452, eq. 5, for one direction."""
    z, targets, total = unit(z), unit(targets), torch.zeros((), dtype=z.dtype)
    for i in range(len(z)):
        shares = torch.stack([torch.exp(z[i] @ targets[j] / 0.4) for j in range(len(targets))])
        total = total - sum(assignments[i, j] * torch.log(shares[j] / shares.sum()) for j in range(len(targets)))
    return total / len(z)


def with_a_teacher_of_its_own() -> ReSA:
    method: ReSA = build(ReSA, **OPTIONS).double()
    with torch.no_grad():
        for p in [*method.teacher_backbone.parameters(), *method.teacher_projector.parameters()]:
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=p.dtype))
    return method


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    method = with_a_teacher_of_its_own()
    batch = views(dtype=torch.float64)
    teacher = copy.deepcopy(method)
    with torch.no_grad():
        h1, h2 = teacher.teacher_backbone(torch.cat([batch.view1, batch.view2])).chunk(2)
        t1, t2 = teacher.teacher_projector(torch.cat([h1, h2])).chunk(2)
    output = method(batch)
    assignments = sinkhorn(unit(output.h1.detach()) @ unit(h1).T)
    assert assignments.diagonal().mean() > 2 / 8
    check(output, lambda z1, z2: (written_out(z1, t2, assignments) + written_out(z2, t1, assignments)) / 2)


def test_no_gradient_flows_through_the_assignments() -> None:
    method = build(ReSA, **OPTIONS)
    output = method(views())
    by_features = torch.autograd.grad(output.loss, (output.h1, output.h2), retain_graph=True)
    # All that reaches the features comes through the embeddings.
    by_embeddings = torch.autograd.grad(output.loss, (output.z1, output.z2), retain_graph=True)
    through = torch.autograd.grad((output.z1, output.z2), (output.h1, output.h2), by_embeddings)
    assert all(map(torch.equal, by_features, through))


def test_assignments_are_balanced() -> None:
    method = build(ReSA, **OPTIONS)
    h = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
    assignments = method.assign(h, h)
    torch.testing.assert_close(assignments.sum(1), torch.ones(16))
    torch.testing.assert_close(assignments.sum(0), torch.ones(16), rtol=0.1, atol=0)
    assert (assignments.argmax(1) == torch.arange(16)).all()


def test_where_every_image_is_only_itself_it_is_the_cross_entropy_of_identity() -> None:
    method = build(ReSA, **OPTIONS | {"epsilon": 0.02})
    batch = views(4)
    # Features with a right angle between each two.
    method.backbone, method.teacher_backbone = (torch.nn.Flatten() for _ in range(2))
    images = torch.eye(4, 36)[:, None].reshape(4, 1, 6, 6)
    assignments = method.assign(images.flatten(1), images.flatten(1))
    torch.testing.assert_close(assignments, torch.eye(4), rtol=0, atol=1e-6)
    assert len(batch.index) == 4


def test_a_step_moves_the_student_and_the_teacher_follows() -> None:
    method = build(ReSA, **OPTIONS)
    before = method.teacher_projector.layers[0].weight.clone()
    student = {"backbone", "projector"}
    assert step(method, views(), progress=0.5) == (student, {f"teacher_{name}" for name in student})
    momentum = 1 - 0.1 * (1 + math.cos(math.pi / 2)) / 2
    expected = momentum * before + (1 - momentum) * method.projector.layers[0].weight
    torch.testing.assert_close(method.teacher_projector.layers[0].weight, expected)


@pytest.mark.parametrize("option", ["temperature", "epsilon", "hidden_dim", "output_dim"])
def test_options_that_cannot_be(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be above 0"):
        build(ReSA, **OPTIONS | {option: 0})
