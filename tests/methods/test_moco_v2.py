import copy
from typing import Any

import pytest
import torch
from kit import build, check, step, unit, views
from torch import Tensor

from dsabench.methods.moco_v2 import MoCoV2

OPTIONS: dict[str, Any] = {
    "hidden_dim": 12,
    "output_dim": 7,
    "temperature": 0.3,
    "queue_size": 40,
    "momentum": 0.8,
    "final_momentum": 0.9,
    "key_splits": 1,
}


def keys_of(method: MoCoV2, batch: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The unit keys of both views, from a copy of the teacher, in one part and in the order of the images."""
    images = torch.cat(views(batch, seed)[1:3])
    keys = copy.deepcopy(method.teacher_projector)(copy.deepcopy(method.teacher_backbone)(images))
    return unit(keys.detach()).chunk(2)


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    method = build(MoCoV2, **OPTIONS)
    k1, k2 = (k.double() for k in keys_of(method))
    queue = method.loss.memory_bank.bank.double().clone()

    def one_way(queries: Tensor, keys: Tensor) -> Tensor:
        losses = []
        for q, k in zip(unit(queries), keys, strict=True):
            positive = torch.exp(q @ k / 0.3)
            negatives = torch.stack([torch.exp(q @ old / 0.3) for old in queue]).sum()
            losses.append(-torch.log(positive / (positive + negatives)))
        return torch.stack(losses).mean()

    check(method(views()), lambda z1, z2: (one_way(z1, k2) + one_way(z2, k1)) / 2, tolerance=1e-5)


def test_the_queue_is_first_in_first_out_and_wraps_around() -> None:
    method = build(MoCoV2, **OPTIONS)
    bank, pointer = method.loss.memory_bank.bank, method.loss.memory_bank.bank_ptr
    start = bank.clone()
    expected = [torch.cat(keys_of(method, seed=seed)[::-1]) for seed in range(4)]
    method(views(seed=0))
    torch.testing.assert_close(bank[:16], expected[0])
    assert torch.equal(bank[16:], start[16:])
    method(views(seed=1))
    torch.testing.assert_close(bank[:32], torch.cat(expected[:2]))
    assert int(pointer) == 32
    # The 8 places left take the first 8 keys, and the next batch begins again at the front.
    method(views(seed=2))
    torch.testing.assert_close(bank, torch.cat([*expected[:2], expected[2][:8]]))
    assert int(pointer) == 0
    method(views(seed=3))
    torch.testing.assert_close(bank, torch.cat([expected[3], expected[1], expected[2][:8]]))


def test_the_queue_rests_without_gradients() -> None:
    method = build(MoCoV2, **OPTIONS)
    start = method.loss.memory_bank.bank.clone()
    with torch.no_grad():
        method(views())
    assert torch.equal(method.loss.memory_bank.bank, start)


def test_keys_are_normalised_in_shuffled_parts_and_come_back_in_order() -> None:
    method = build(MoCoV2, **OPTIONS | {"key_splits": 4})
    images = torch.cat(views()[1:3])
    backbone, projector = copy.deepcopy(method.teacher_backbone), copy.deepcopy(method.teacher_projector)
    torch.manual_seed(5)
    found = method.keys(images)
    torch.manual_seed(5)
    order = torch.randperm(16).tolist()
    for start in range(0, 16, 4):
        part = order[start : start + 4]
        torch.testing.assert_close(found[part], projector(backbone(images[part])).detach())
    assert order != sorted(order)


@pytest.mark.parametrize(("batch", "splits"), [(1, 8), (2, 8), (3, 4), (8, 3)])
def test_a_small_batch_is_split_less(batch: int, splits: int) -> None:
    method = build(MoCoV2, **OPTIONS | {"key_splits": splits})
    assert torch.isfinite(method(views(batch)).loss)


def test_a_step_moves_the_student_by_gradient_and_the_teacher_by_momentum() -> None:
    method = build(MoCoV2, **OPTIONS)
    teacher = method.teacher_projector.layers[0].weight.clone()
    assert step(method, views(), progress=0.5) == ({"backbone", "projector"}, {"teacher_backbone", "teacher_projector"})
    # Half way from 0.8 to 0.9.
    student = method.projector.layers[0].weight
    torch.testing.assert_close(method.teacher_projector.layers[0].weight, 0.85 * teacher + 0.15 * student)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("temperature", 0.0, "temperature must be above 0"),
        ("temperature", -0.2, "temperature must be above 0"),
        ("queue_size", 0, "queue_size must be above 0"),
        ("key_splits", 0, "key_splits must be above 0"),
        ("momentum", 1.5, "momentum must lie in"),
        ("final_momentum", -0.1, "final_momentum must lie in"),
    ],
)
def test_options_that_cannot_be(option: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(MoCoV2, **OPTIONS | {option: value})
