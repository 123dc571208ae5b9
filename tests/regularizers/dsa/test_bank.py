"""DSA over the whole set: whom an image is drawn to, how far, and what is read off the bank."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dsabench.regularizers.dsa.bank import DSA, frame_potential, uniformity
from dsabench.regularizers.dsa.transitivity import (
    above_chance,
    centred,
    excess_transitivity,
    local_transitivity,
    transitivity,
)
from dsabench.types import MethodOutput, Views

N, BATCH, FEATURES, EMBEDDING = 96, 32, 12, 6


def groups(images: int, count: int, spread: float, seed: int = 0, dims: int = 48) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    means = torch.randn(count, dims, generator=draw)
    member = torch.arange(images) % count
    return means[member] + spread * torch.randn(images, dims, generator=draw)


def bank(**options: Any) -> DSA:
    return DSA(nn.Identity(), FEATURES, EMBEDDING, num_images=N, **{"weight": 3.0, **options})


def batch(index: Tensor, seed: int = 0) -> tuple[MethodOutput, Views]:
    """Features of 6 groups of images, the same however the batches are put together, and embeddings near them."""
    draw = torch.Generator().manual_seed(seed)
    h = groups(N, 6, 0.3, dims=FEATURES)[index]
    h1, h2 = (h + 0.05 * torch.randn(h.shape, generator=draw) for _ in range(2))
    z1, z2 = ((one[:, :EMBEDDING] + 0.1).requires_grad_() for one in (h1, h2))
    images = torch.zeros(3, len(index), 1, 8, 8)
    return MethodOutput((z1 * z2).sum(), h1, h2, z1, z2), Views(*images, index)


def epoch(dsa: DSA, number: int = 0, progress: float = 1.0) -> list[Tensor]:
    terms = []
    order = torch.randperm(N, generator=torch.Generator().manual_seed(number))
    for index in order.split(BATCH):
        output, views = batch(index, number)
        terms.append(dsa(output, views, progress)["dsa_adjust"])
    return terms


def test_transitivity_is_what_is_written() -> None:
    unit = normalize(groups(40, 4, 1.0), dim=1)
    cosine = (unit @ unit.T).numpy().copy()
    np.fill_diagonal(cosine, -np.inf)
    order = np.argsort(-cosine, axis=1, kind="stable")
    for k, found in zip((1, 3, 8), transitivity(unit, (1, 3, 8)), strict=True):
        shares = [len({*order[i, :k]} & {*order[j, :k]}) / k for i in range(40) for j in order[i, :k]]
        assert float(found) == pytest.approx(np.mean(shares), abs=1e-6)


def test_features_without_groups_do_not_hang_together_and_groups_do_at_their_size() -> None:
    draw = torch.Generator().manual_seed(1)
    normal = torch.randn(600, 48, generator=draw)
    angle = 6.283 * torch.rand(600, generator=draw)
    ring = torch.stack([angle.cos(), angle.sin()], dim=1) @ torch.randn(2, 48, generator=draw) + 0.1 * normal
    for features in (normal, normal * torch.linspace(2, 0.1, 48) ** 2):
        assert excess_transitivity(features).excess < 0.03
    assert excess_transitivity(ring).excess < 0.15
    for count in (10, 40):
        share, _, excess = excess_transitivity(groups(600, count, 0.7))
        assert excess > 0.5
        # The largest power of two that a group holds.
        assert 0.5 / count < share < 1.1 / count
    # Groups of groups: the coarsest level, and the finest that hangs together.
    nested = 2 * groups(600, 6, 0.0, seed=2) + groups(600, 60, 0.3, seed=3)
    (coarse, _, _), (fine, _, _) = excess_transitivity(nested, 1.0), excess_transitivity(nested, 0.5)
    assert fine <= coarse
    with pytest.raises(ValueError, match="at least 16 images, got 15"):
        excess_transitivity(normal[:15])


def test_local_transitivity_is_what_is_written_and_little_in_a_cloud_beside_groups() -> None:
    draw = torch.Generator().manual_seed(3)
    features = torch.cat([groups(300, 10, 0.7), 0.7 * torch.randn(60, 48, generator=draw)])
    unit, k = centred(features), 8
    positions = torch.arange(0, 360, 2)
    sample = unit[positions]
    found = local_transitivity(unit, positions, k)
    among = (sample @ sample.T).fill_diagonal_(-torch.inf)
    for i in (0, 7, 150, 359):
        cosine = unit[i] @ sample.T
        # An image of the sample is not its own neighbour.
        cosine[i // 2] = -torch.inf if i % 2 == 0 else cosine[i // 2]
        near = cosine.argsort(descending=True)[:k]
        pairs = [float(m in among[j].argsort(descending=True)[:k]) for j in near for m in near]
        assert float(found[i]) == pytest.approx(np.mean(pairs), abs=1e-6)
    trusted = above_chance(excess_transitivity(features).chance, found)
    assert trusted[300:].mean() < 0.5 * trusted[:300].mean()


def test_it_says_the_same_of_turned_and_scaled_features() -> None:
    features = groups(300, 10, 1.0)
    turn, _ = torch.linalg.qr(torch.randn(48, 48, generator=torch.Generator().manual_seed(0)))
    share, _, excess = excess_transitivity(features)
    other_share, _, other = excess_transitivity(7.0 * features @ turn)
    assert other_share == share
    assert other == pytest.approx(excess, abs=0.02)


def test_nothing_is_drawn_before_all_images_were_seen_and_k_is_read_off_once_at_the_start() -> None:
    dsa = bank()
    assert [float(term.detach()) for term in epoch(dsa)] == [0.0, 0.0, 0.0]
    assert dsa.found.tolist() == [0.0, 0.0, N]
    terms = epoch(dsa, 1)
    k, excess, seen = dsa.found.tolist()
    assert (0 < excess <= 1, seen, float(terms[-1].detach()) > 0) == (True, N, True)
    # No more than a group holds, 16 images each.
    assert 1 <= k <= 16
    assert float(dsa.diagnostics["dsa_k"]) == k
    # What the bank has become since is not asked.
    dsa.features.normal_()
    epoch(dsa, 2)
    assert dsa.found.tolist() == [k, excess, N]
    late = bank(k=5, start=0.5)
    for number in range(3):
        epoch(late, number, progress=0.4)
    assert late.found.tolist() == [0.0, 0.0, N]
    epoch(late, 3)
    assert late.found[0] == 5


def test_mutual_neighbours_are_those_of_a_literal_search() -> None:
    dsa = bank(k=4, pulls=4)
    for number in range(2):
        epoch(dsa, number)
    output, views = batch(torch.arange(N), 5)
    own = normalize(normalize(output.h1, dim=1) + normalize(output.h2, dim=1), dim=1)
    dsa.features.copy_(own)
    near, mutual, _ = dsa.neighbours(views.index, own, 4)
    centred = normalize(own - own.mean(dim=0), dim=1)
    cosine = (centred @ centred.T).fill_diagonal_(-torch.inf)
    for i in range(N):
        nearest = [{*cosine[j].argsort(descending=True)[:4].tolist()} for j in (i, *near[i].tolist())]
        assert {*near[i].tolist()} == nearest[0]
        assert mutual[i].tolist() == [i in theirs for theirs in nearest[1:]]


def test_a_neighbour_no_farther_than_two_views_is_left_where_it_is() -> None:
    dsa = bank(reach=0.5)
    z1 = normalize(torch.tensor([[1.0, 0.0, 0, 0, 0, 0], [0.0, 1.0, 0, 0, 0, 0]]), dim=1).requires_grad_()
    z2 = normalize(torch.tensor([[1.0, 0.5, 0, 0, 0, 0], [0.5, 1.0, 0, 0, 0, 0]]), dim=1).requires_grad_()
    dsa.embedded[0] = normalize(torch.tensor([1.0, 0.1, 0, 0, 0, 0]), dim=0)
    dsa.embedded[1] = torch.tensor([0.0, 0, 1, 0, 0, 0])
    near, mutual = torch.tensor([[0], [1]]), torch.tensor([[True], [True]])
    all_of_them = torch.ones(2)
    beyond, whole = dsa.distances(z1, z2, near, mutual, all_of_them)
    reach = (z1 - z2).norm(dim=1).detach().quantile(0.5)
    distances = torch.stack([(z - dsa.embedded[:2]).norm(dim=1) for z in (z1, z2)]).detach()
    assert float(whole.detach()) == pytest.approx(float(distances.mean()))
    assert float(beyond.detach()) == pytest.approx(float((distances - reach).clamp(min=0).mean()))
    (gradient,) = torch.autograd.grad(beyond, z1)
    assert gradient[0].abs().sum() == 0
    assert gradient[1].abs().sum() > 0
    # Without the limit, and of images that have no mutual neighbour.
    free = bank(reach=0.0)
    free.embedded.copy_(dsa.embedded)
    every, whole = free.distances(z1, z2, near, mutual, all_of_them)
    assert torch.equal(every, whole)
    assert [float(one.detach()) for one in dsa.distances(z1, z2, near, ~mutual, all_of_them)] == [0.0, 0.0]
    # Each image is drawn as far as it is trusted.
    half, same = free.distances(z1, z2, near, mutual, torch.tensor([1.0, 0.0]))
    assert float(half.detach()) == pytest.approx(float(distances[:, 0].sum() / 4), rel=1e-5)
    assert torch.equal(same, whole)


def test_before_its_start_and_without_a_weight_no_gradient_reaches_the_student() -> None:
    for options, progress in (({"weight": 0.0, "push": 1.0}, 1.0), ({"start": 0.5}, 0.4)):
        dsa = bank(**options)
        epoch(dsa)
        output, views = batch(torch.arange(BATCH), 3)
        term = dsa(output, views, progress)["dsa_adjust"]
        assert (float(term), term.requires_grad) == (0.0, False)


def test_the_weight_is_relative_to_the_gradient_of_all_distances_and_times_the_trust() -> None:
    terms = {}
    for trust in ("local", "linear", "none"):
        dsa = bank(weight=1.0, trust=trust, reach=0.0)
        epoch(dsa)
        output, views = batch(torch.arange(BATCH), 3)
        term = dsa(output, views, 1.0)["dsa_adjust"]
        norms = [
            torch.cat(torch.autograd.grad(value, (output.z1, output.z2), retain_graph=True)).norm()
            for value in (term, output.loss)
        ]
        terms[trust] = float(norms[0] / norms[1])
    assert terms["none"] == pytest.approx(1.0, rel=1e-4)
    assert terms["linear"] == pytest.approx(float(dsa.found[1]), rel=1e-4)
    # Images are trusted about as far each as all are together.
    assert terms["local"] == pytest.approx(terms["linear"], rel=0.3)


def test_uniformity_is_that_of_the_pairs_that_are_not_together_and_moves_no_other() -> None:
    views = normalize(groups(2 * 10, 4, 1.0, dims=EMBEDDING), dim=1).view(2, 10, EMBEDDING).requires_grad_()
    together = torch.eye(10, dtype=torch.bool)
    together[0, 3] = together[3, 0] = True
    flat = views.detach().flatten(0, 1).double().numpy()
    apart = [(i, j) for i in range(20) for j in range(20) if not together[i % 10, j % 10]]
    mean = np.mean([np.exp(-2 * ((flat[i] - flat[j]) ** 2).sum()) for i, j in apart])
    found = uniformity(views, together)
    assert float(found.detach()) == pytest.approx(np.log(mean), rel=1e-5)
    only = torch.ones(10, 10, dtype=torch.bool)
    only[1, 2] = only[2, 1] = False
    (gradient,) = torch.autograd.grad(uniformity(views, only), views)
    moved = gradient.abs().sum(dim=2) > 0
    assert moved.tolist() == [[i in (1, 2) for i in range(10)]] * 2
    # Downhill is apart.
    before, after = views.detach(), views.detach() - 0.01 * gradient
    assert float((after[0, 1] - after[0, 2]).norm()) > float((before[0, 1] - before[0, 2]).norm())


def test_the_push_has_a_weight_of_its_own_and_without_it_nothing_changes() -> None:
    pushed, plain, alone = (bank(spread=0.0, **one) for one in ({"push": 0.5}, {}, {"push": 2.0, "weight": 0.0}))
    for dsa in (pushed, plain, alone):
        epoch(dsa)
    output, views = batch(torch.arange(BATCH), 3)
    terms, others, only = (dsa(output, views, 1.0) for dsa in (pushed, plain, alone))
    assert torch.equal(terms["dsa_adjust"], others["dsa_adjust"])
    assert (others.keys(), terms.keys()) == ({"dsa_adjust"}, {"dsa_adjust", "dsa_separate"})
    for term, weight in ((terms["dsa_separate"], 0.5), (only["dsa_separate"], 2.0)):
        norms = [
            torch.cat(torch.autograd.grad(value, (output.z1, output.z2), retain_graph=True)).norm()
            for value in (term, output.loss)
        ]
        assert float(norms[0] / norms[1]) == pytest.approx(weight, rel=1e-4)
    assert not only["dsa_adjust"].requires_grad
    # Before there are neighbours nobody is pushed.
    assert not bank(push=0.5)(output, views, 1.0)["dsa_separate"].requires_grad


def test_the_frame_potential_is_that_of_the_pairs_that_are_not_together() -> None:
    views = groups(2 * 10, 4, 1.0, dims=FEATURES).view(2, 10, FEATURES)
    together = torch.eye(10, dtype=torch.bool)
    together[0, 3] = together[3, 0] = True
    x = views.flatten(0, 1).double().numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x -= x.mean(axis=0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    apart = [(i, j) for i in range(20) for j in range(20) if not together[i % 10, j % 10]]
    mean = np.mean([(x[i] @ x[j]) ** 2 for i, j in apart])
    assert float(frame_potential(views, together)) == pytest.approx(np.log(mean), rel=1e-5)


def test_the_frame_potential_tells_the_dimensions_and_downhill_there_are_more() -> None:
    draw = torch.Generator().manual_seed(0)
    apart = torch.eye(400, dtype=torch.bool)
    for dims in (4, 10):
        flat = torch.randn(2, 400, dims, generator=draw) @ torch.randn(dims, 16, generator=draw).svd().V.T
        assert float((-frame_potential(flat, apart)).exp()) == pytest.approx(dims, rel=0.05)
    turn, _ = torch.linalg.qr(torch.randn(16, 16, generator=draw))
    uneven = (torch.randn(2, 400, 16, generator=draw) * torch.linspace(2, 0.2, 16) ** 2).requires_grad_()
    before = frame_potential(uneven, apart)
    torch.testing.assert_close(before, frame_potential(5 * uneven @ turn, apart), rtol=1e-4, atol=1e-4)
    (gradient,) = torch.autograd.grad(before, uneven)
    moved = uneven.detach() - 500 * gradient
    shares = [torch.linalg.svdvals(x.flatten(0, 1)).square() for x in (uneven.detach(), moved)]
    participation = [float(share.sum() ** 2 / share.square().sum()) for share in shares]
    assert participation[1] > 1.02 * participation[0]


def test_the_features_are_spread_from_the_first_step_and_without_it_nothing_changes() -> None:
    spread, plain, alone = bank(spread=0.5), bank(spread=0.0), bank(spread=2.0, weight=0.0)
    output, views = batch(torch.arange(BATCH), 3)
    output.h1.requires_grad_()
    output.h2.requires_grad_()
    mixed = torch.randn(FEATURES, FEATURES, generator=torch.Generator().manual_seed(0))
    loss = output.loss + (output.h1 @ mixed).square().sum() + output.h2.square().sum()
    output = output._replace(loss=loss)
    for first in (True, False):
        terms, others, only = (dsa(output, views, 0.0 if first else 1.0) for dsa in (spread, plain, alone))
        assert torch.equal(terms["dsa_adjust"], others["dsa_adjust"])
        assert (others.keys(), terms.keys()) == ({"dsa_adjust"}, {"dsa_adjust", "dsa_spread"})
        assert only.keys() == {"dsa_spread"}
        for term, weight in ((terms["dsa_spread"], 0.5), (only["dsa_spread"], 2.0)):
            norms = [
                torch.cat(torch.autograd.grad(value, (output.h1, output.h2), retain_graph=True)).norm()
                for value in (term, loss)
            ]
            assert float(norms[0] / norms[1]) == pytest.approx(weight, rel=1e-4)
        assert 1 < float(spread.diagnostics["dsa_dimensions"]) < FEATURES
        for dsa in (spread, plain):
            epoch(dsa)
    # A backbone that is not trained has nothing to spread.
    frozen, _ = batch(torch.arange(BATCH), 3)
    assert float(spread(frozen, views, 1.0)["dsa_spread"]) == 0


def test_without_a_weight_nothing_is_kept_of_the_images_and_nobody_is_taken_for_similar() -> None:
    dsa = DSA(nn.Identity(), FEATURES, EMBEDDING, num_images=10**9)
    assert sum(buffer.numel() for name, buffer in dsa.named_buffers() if not name.startswith("adjuster")) == 3
    output, views = batch(torch.arange(BATCH), 3)
    output.h1.requires_grad_()
    output = output._replace(loss=output.h1.square().sum())
    terms = dsa(output, views, 1.0)
    # Images are told apart by their features alone: whoever they are, and however many there are.
    alone = DSA(nn.Identity(), FEATURES, EMBEDDING)(output, views._replace(index=torch.zeros(0).long()), 1.0)
    assert terms.keys() == alone.keys() == {"dsa_spread"}
    assert torch.equal(terms["dsa_spread"], alone["dsa_spread"])
    assert terms["dsa_spread"].requires_grad
    assert dsa.similar_pairs is None
    for options, prior in (({}, "none"), ({"weight": 1.0}, "bank"), ({"push": 1.0}, "bank")):
        assert DSA.facts({"weight": 0.0, "push": 0.0, **options}).prior == prior
    with pytest.raises(ValueError, match="num_images, of the training split, must be given with weight or push"):
        DSA(nn.Identity(), FEATURES, EMBEDDING, weight=3.0)


def test_a_batch_whose_images_are_all_neighbours_is_neither_pushed_nor_spread() -> None:
    together = torch.ones(3, 3, dtype=torch.bool)
    views = normalize(groups(6, 2, 1.0, dims=EMBEDDING), dim=1).view(2, 3, EMBEDDING).requires_grad_()
    for apart in (uniformity, frame_potential):
        value = apart(views, together)
        (gradient,) = torch.autograd.grad(value, views)
        assert value.isfinite()
        assert not gradient.any()


def test_those_together_are_the_mutual_neighbours_of_the_batch() -> None:
    dsa = bank(k=4, pulls=4)
    for number in range(2):
        epoch(dsa, number)
    index = torch.arange(0, N, 2)
    output, _ = batch(index, 5)
    own = normalize(normalize(output.h1, dim=1) + normalize(output.h2, dim=1), dim=1)
    dsa.features[index] = own
    near, mutual, together = dsa.neighbours(index, own, 4)
    drawn = torch.where(mutual, near, -1)
    expected = (drawn[:, :, None] == index).any(dim=1) | torch.eye(len(index), dtype=torch.bool)
    assert expected.sum() > len(index)
    assert torch.equal(together, expected)


def test_a_module_with_the_same_buffers_goes_on_alike() -> None:
    first, second = bank(), bank()
    epoch(first)
    second.load_state_dict(first.state_dict())
    for number in (1, 2):
        assert all(map(torch.equal, epoch(first, number), epoch(second, number)))
    assert torch.equal(first.found, second.found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1.0}, "weight, push and spread must be >= 0"),
        ({"push": -1.0}, "weight, push and spread must be >= 0"),
        ({"spread": -1.0}, "weight, push and spread must be >= 0"),
        ({"reach": 1.5}, "start and reach must lie"),
        ({"part": 0.0}, "part must lie"),
        ({"pulls": 0}, "k must be >= 0 and pulls >= 1"),
        ({"k": N}, "k must be less than the number of images, 96"),
        ({"trust": "some"}, "trust"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bank(**options)
