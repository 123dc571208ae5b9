import copy

import pytest
import torch
from kit import build, check, info_nce, step, unit, views
from torch import Tensor

from dsabench.methods.nnclr import NNCLR

OPTIONS = {"hidden_dim": 12, "output_dim": 7, "predictor_dim": 9, "temperature": 0.3, "queue_size": 20}


def nearest(z: Tensor, queue: Tensor) -> Tensor:
    """For each row the entry of the queue at the least distance, by search."""
    found = []
    for row in unit(z):
        distances = [float((row - entry).norm()) for entry in queue]
        found.append(queue[distances.index(min(distances))])
    return torch.stack(found)


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    method = build(NNCLR, **OPTIONS)
    method(views(seed=1))
    predictor, queue = copy.deepcopy(method.predictor).double(), method.queue.bank.double().clone()

    def reference(z1: Tensor, z2: Tensor) -> Tensor:
        p1, p2 = predictor(torch.cat([z1, z2])).chunk(2)
        near1, near2 = (nearest(z.detach(), queue) for z in (z1, z2))
        return (info_nce(near1, p2, 0.3) + info_nce(near2, p1, 0.3)) / 2

    check(method(views()), reference, tolerance=1e-5)


def test_the_queue_takes_the_first_views_unit_embeddings_and_wraps_around() -> None:
    method = build(NNCLR, **OPTIONS)
    start = method.queue.bank.clone()
    torch.testing.assert_close(start.norm(dim=1), torch.ones(20))
    first, second, third = (unit(method(views(seed=seed)).z1.detach()) for seed in range(3))
    # 8 + 8 + the 4 that are left; what does not fit is dropped and the next batch goes to the front.
    torch.testing.assert_close(method.queue.bank, torch.cat([first, second, third[:4]]))
    assert int(method.queue.bank_ptr) == 0
    fourth = unit(method(views(seed=3)).z1.detach())
    torch.testing.assert_close(method.queue.bank, torch.cat([fourth, second, third[:4]]))


def test_the_queue_rests_in_eval_mode() -> None:
    method = build(NNCLR, **OPTIONS).eval()
    start = method.queue.bank.clone()
    method(views())
    assert torch.equal(method.queue.bank, start)


def test_a_step_moves_everything() -> None:
    method = build(NNCLR, **OPTIONS)
    assert step(method, views()) == ({"backbone", "projector", "predictor"}, set())


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("temperature", 0.0, "temperature must be above 0"),
        ("queue_size", 0, "queue_size must be above 0"),
        ("queue_size", -4, "queue_size must be above 0"),
    ],
)
def test_options_that_cannot_be(option: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(NNCLR, **OPTIONS | {option: value})
