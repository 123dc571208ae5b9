import copy

import pytest
import torch
from kit import build, check, gradients, unit, views
from torch import Tensor

from dsabench.methods.byol import BYOL
from dsabench.methods.mean_shift import MeanShift

OPTIONS = {"hidden_dim": 12, "output_dim": 7, "predictor_dim": 9, "k": 3, "queue_size": 20, "momentum": 0.9}


def written_out(predictions: Tensor, targets: Tensor, queue: Tensor) -> Tensor:
    """The mean over the queries of 1/k sum_j ||v - z_j||^2, z_j the k entries nearest to the query's target, itself
    among them (arXiv 2105.07269, section 3)."""
    v, u, losses = unit(predictions), unit(targets), []
    entries = torch.cat([u, queue])
    for i in range(len(v)):
        by_distance = sorted(range(len(entries)), key=lambda j: float((u[i] - entries[j]).square().sum()))
        assert by_distance[0] == i
        losses.append(sum((v[i] - entries[j]).square().sum() for j in by_distance[:3]) / 3)
    return torch.stack(losses).mean()


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    method = build(MeanShift, **OPTIONS).double()
    with torch.no_grad():
        for p in method.teacher_projector.parameters():
            p.mul_(1.3).add_(0.1)
    method(views(seed=1, dtype=torch.float64))
    teacher, predictor, queue = (copy.deepcopy(part) for part in (method, method.predictor, method.queue.bank))
    batch = views(dtype=torch.float64)
    with torch.no_grad():
        images = torch.cat([batch.view1, batch.view2])
        t1, t2 = teacher.teacher_projector(teacher.teacher_backbone(images)).chunk(2)

    def reference(z1: Tensor, z2: Tensor) -> Tensor:
        p1, p2 = predictor(torch.cat([z1, z2])).chunk(2)
        return (written_out(p1, t2, queue) + written_out(p2, t1, queue)) / 2

    check(method(batch), reference)


def test_with_its_own_target_alone_it_is_byol() -> None:
    shift = build(MeanShift, **OPTIONS | {"k": 1}).double()
    byol = build(BYOL, **{name: OPTIONS[name] for name in ("hidden_dim", "output_dim", "predictor_dim", "momentum")})
    byol.load_state_dict({name: p for name, p in shift.state_dict().items() if not name.startswith("queue.")})
    batch = views(dtype=torch.float64)
    ours, theirs = shift(batch), byol.double()(batch)
    # 2 - 2 cos, where BYOL here has -cos.
    torch.testing.assert_close(ours.loss, 2 + 2 * theirs.loss)
    for mine, other in zip(gradients(ours), gradients(theirs), strict=True):
        torch.testing.assert_close(mine, 2 * other)


def test_the_queue_takes_the_teachers_first_views_and_rests_in_eval_mode() -> None:
    method = build(MeanShift, **OPTIONS)
    batch = views()
    with torch.no_grad():
        images = torch.cat([batch.view1, batch.view2])
        teacher = copy.deepcopy(method)
        t1, _ = teacher.teacher_projector(teacher.teacher_backbone(images)).chunk(2)
    method(batch)
    torch.testing.assert_close(method.queue.bank[:8], unit(t1))
    kept = method.queue.bank.clone()
    method.eval()(views(seed=1))
    assert torch.equal(method.queue.bank, kept)


def test_the_gradient_reaches_the_student_alone_and_momentum_moves_the_teacher() -> None:
    method = build(MeanShift, **OPTIONS)
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
        torch.testing.assert_close(p, 0.9 * before[name] + 0.1 * students[name.removeprefix("teacher_")])


@pytest.mark.parametrize(("k", "queue_size"), [(0, 20), (21, 20)])
def test_neighbours_that_cannot_be(k: int, queue_size: int) -> None:
    with pytest.raises(ValueError, match="k must lie in 1 to queue_size = 20"):
        build(MeanShift, **OPTIONS | {"k": k, "queue_size": queue_size})
