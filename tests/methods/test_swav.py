from typing import Any

import pytest
import torch
from kit import build, flat_views, flattened, step, unit, views
from torch import Tensor

from dsabench.methods.swav import RECIPES, SwAV

P, K, TEMPERATURE, EPSILON = 6, 5, 0.1, 0.05


def codes(scores: Tensor) -> Tensor:
    """Sinkhorn-Knopp in the paper's form (eq. 3 to 5): Q (N, K) as a transport plan with marginals 1/K and 1/N."""
    n, k = scores.shape
    plan = torch.exp(scores / EPSILON)
    for _ in range(3):
        plan = plan / plan.sum(0, keepdim=True) / k
        plan = plan / plan.sum(1, keepdim=True) / n
    return plan * n


def formula(prototypes: Tensor, large: list[Tensor], small: list[Tensor], queue: list[Tensor] | None) -> Tensor:
    """Equation 1 over all pairs of a view that is assigned and another crop that predicts (eq. 2, section 3.2)."""
    crops, losses = [*large, *small], []
    for i, assigned in enumerate(large):
        rows = torch.cat([assigned, queue[i]]) if queue else assigned
        q = codes((unit(rows) @ prototypes.T).detach())[: len(assigned)]
        for j, predicting in enumerate(crops):
            if j != i:
                p = torch.softmax(unit(predicting) @ prototypes.T / TEMPERATURE, dim=1)
                losses.append(-(q * p.log()).sum(1).mean())
    return torch.stack(losses).mean()


def make(**changes: object) -> Any:
    options: dict[str, object] = {"output_dim": P, "prototypes": K, "frozen_share": 0.0, "queue_size": 0}
    return build(SwAV, RECIPES["tiny"].options, **{**options, **changes})


def embeddings(count: int, batch: int = 12, seed: int = 0) -> list[Tensor]:
    return list(torch.randn(count, batch, P, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("crops", [0, 3])
@pytest.mark.parametrize("queued", [False, True])
def test_loss_and_gradients_are_the_papers(crops: int, queued: bool) -> None:
    # The queue is in float32, so with it the rest is too.
    dtype, tolerance = (torch.float32, 1e-5) if queued else (torch.float64, 1e-6)
    method = flattened(make(queue_size=20 if queued else 0, queue_start=0.0)).to(dtype)
    if queued:
        for seed in (1, 2):
            method(flat_views(*embeddings(2, seed=seed)))
    assert method.queue_is_used() == queued
    past = [z.double() for z in method.queue.clone()] if queued else None
    batch = flat_views(*(z.to(dtype) for z in embeddings(2 + crops)))
    loss = method(batch).loss
    loss.backward()
    weight = method.prototypes.weight.detach().double().requires_grad_()
    zs = [z.double().requires_grad_() for z in embeddings(2 + crops)]
    expected = formula(weight, zs[:2], zs[2:], past)
    expected.backward()
    torch.testing.assert_close(loss.detach().double(), expected.detach(), rtol=1e-6, atol=0)
    for image, z in zip((batch.view1, batch.view2, *batch.locals), zs, strict=True):
        torch.testing.assert_close(image.grad.flatten(1).double(), z.grad, rtol=tolerance, atol=1e-6)  # type: ignore[union-attr]
    torch.testing.assert_close(method.prototypes.weight.grad.double(), weight.grad, rtol=tolerance, atol=1e-6)


def test_assignments_are_balanced_and_each_sums_to_one() -> None:
    from lightly.loss.swav_loss import sinkhorn

    scores = torch.rand(40, K, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    q = sinkhorn(scores, iterations=200, epsilon=EPSILON)
    torch.testing.assert_close(q.sum(1), torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(q.sum(0), torch.full((K,), 40 / K, dtype=torch.float64), rtol=1e-6, atol=0)
    torch.testing.assert_close(sinkhorn(scores), codes(scores))


def test_the_queue_has_the_newest_first_and_the_oldest_fall_out() -> None:
    method = flattened(make(queue_size=30, queue_start=0.0))
    batches = [embeddings(2, seed=seed) for seed in range(4)]
    used = []
    for batch in batches:
        used.append(method.queue_is_used())
        method(flat_views(*batch))
    assert used == [False, False, False, True]
    for view in (0, 1):
        rows = torch.cat([unit(batch[view]) for batch in reversed(batches)])[:30]
        torch.testing.assert_close(method.queue[view], rows)
    # A batch larger than the queue fills it with its first rows.
    method = flattened(make(queue_size=5, queue_start=0.0))
    method(flat_views(*batches[0]))
    assert method.queue_is_used()
    torch.testing.assert_close(method.queue[1], unit(batches[0][1])[:5])


def test_the_queue_waits_for_its_share_of_training() -> None:
    method = make(queue_size=16, queue_start=0.5)
    kept = []
    for i in range(1, 7):
        method(views(8, seed=i))
        method.after_step(i / 6)
        kept.append(int(method.queued.buffer))
    assert kept == [0, 0, 0, 8, 16, 16]
    assert make(queue_size=0, queue_start=0.0).queue_is_used() is False


def test_prototypes_have_unit_length_after_every_step() -> None:
    method = make()
    for _ in range(2):
        torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(K))
        by_gradient, by_normalising = step(method, views(16))
    assert by_gradient == {"backbone", "projector", "prototypes"}
    assert by_normalising == {"prototypes"}


def test_prototypes_are_frozen_for_their_share_of_training() -> None:
    method = make(frozen_share=0.4)
    moved = [set.union(*step(method, views(16, seed=i, crops=2), i / 5)) for i in range(1, 5)]
    others = {"backbone", "projector"}
    assert moved == [others, others, others | {"prototypes"}, others | {"prototypes"}]


def test_small_crops_predict_and_are_not_predicted() -> None:
    method = make()
    plain, cropped = method(views(16)), method(views(16, crops=2))
    assert plain.loss.shape == cropped.loss.shape == ()
    assert plain.loss != cropped.loss
    assert cropped.z1.shape == cropped.z2.shape == (16, P)
    # The backbone's features of the views do not depend on the crops; in the projector, batch norm sees them all.
    torch.testing.assert_close(plain.h1, cropped.h1)
    assert not torch.allclose(plain.z1, cropped.z1)


def test_options_that_cannot_be_are_refused() -> None:
    for bad in ({"temperature": 0.0}, {"epsilon": -1.0}, {"prototypes": 1}, {"queue_size": -1}, {"frozen_share": 1.5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            make(**bad)
