"""What a run computes of DSA against its definitions: many random cases, copies, ties, blocks, gradients, memory."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dsabench.regularizers.dsa import (
    adjustment,
    adjustment_loss,
    good_neighbour_scores,
    neighbourhoods,
    shared_neighbour_similarity,
)
from dsabench.regularizers.dsa.adjustment import pair_terms
from dsabench.regularizers.dsa.definitions import adjacency
from dsabench.regularizers.dsa.neighbourhoods import (
    fewest_samples,
    most_neighbours,
    nearest,
    scores_of_neighbours,
    similarity_of_neighbours,
    warn_of_few_samples,
)
from dsabench.regularizers.dsa.pairs import PairNetwork

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
DTYPES = tuple(TOLERANCE)


def with_ties(n: int, dimensions: int, seed: int) -> Tensor:
    """Small integers, so that many cosines are equal, the last half copies and multiples of the first."""
    draw = torch.Generator().manual_seed(seed)
    u = torch.randint(-1, 2, (n, dimensions), generator=draw).double()
    u[~u.any(dim=1)] = 1.0
    u[n // 2 :] = u[: n - n // 2] * torch.randint(1, 4, (n - n // 2, 1), generator=draw)
    return u


def with_copies(n: int, dimensions: int, seed: int) -> Tensor:
    """Random features, a third of the rows copies and multiples of others."""
    draw = torch.Generator().manual_seed(seed)
    u = torch.randn(n, dimensions, generator=draw, dtype=torch.float64)
    chosen = torch.randperm(n, generator=draw)[: n // 3]
    u[chosen] = u[torch.randint(n, (len(chosen),), generator=draw)] * 2.0
    return u


def cases() -> list[tuple[Tensor, int]]:
    """Features (N, P) and k: from the fewest samples there can be, through ties and copies, to all alike."""
    found = []
    for seed, n in enumerate((2, 3, 4, 5, 7, 10, 16, 23, 40, 61)):
        for k in sorted({1, (n - 1) // 2, n - 1} - {0}):
            for dimensions in (1, 2, 5, 70):
                found += [(make(n, dimensions, seed), k) for make in (with_ties, with_copies)]
    found += [(torch.randn(1, 300, generator=torch.Generator().manual_seed(n)).repeat(n, 1), n // 4) for n in (16, 257)]
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_scores_and_similarity_are_those_of_the_definitions(dtype):
    for features, k in cases():
        u = features.to(dtype)
        near, n = nearest(u, k), len(features)
        for include_self in (False, True):
            columns = near[:, :k] if include_self else near[:, 1:]
            ours = torch.zeros(n, n, dtype=torch.float64).scatter_(1, columns, 1.0)
            assert torch.equal(ours, adjacency(u, k, include_self=include_self))
        for mu in (0, 1, 2.5):
            scores = scores_of_neighbours(near[:, 1:], mu)
            torch.testing.assert_close(scores.double(), good_neighbour_scores(u.double(), k, mu), rtol=0, atol=1e-6)
        shared = similarity_of_neighbours(near[:, :k], n)
        torch.testing.assert_close(shared.double(), shared_neighbour_similarity(u.double(), k), rtol=0, atol=1e-6)


@pytest.mark.parametrize("k", [1, 4, 9])
def test_the_first_samples_among_all_are_a_part_of_the_whole(k):
    u = with_ties(20, 3, seed=0)
    near = nearest(u, k)
    torch.testing.assert_close(
        scores_of_neighbours(near[:, 1:], 1, slice(7)), good_neighbour_scores(u, k, 1)[:7].float()
    )
    expected = shared_neighbour_similarity(u, k)[:7, :7].float()
    torch.testing.assert_close(similarity_of_neighbours(near[:7, :k], 20), expected)
    columns = torch.tensor([6, 0, 3])
    torch.testing.assert_close(similarity_of_neighbours(near[:7, :k], 20, columns), expected[:, columns])


@pytest.mark.parametrize("k", [-1, 0, 6, 100])
def test_more_neighbours_than_there_are_others_is_an_error(k):
    with pytest.raises(ValueError, match=rf"k = {k} neighbours .* got 6 samples"):
        nearest(torch.randn(6, 3), k)
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        nearest(torch.zeros(4), 1)


def test_neighbourhoods_drawn_at_random_make_no_pair_similar():
    # Why a neighbourhood holds a quarter of the others at the most: from two fifths on, chance alone would pull.
    draw = torch.Generator().manual_seed(0)
    for share, expected in ((0.25, 2 / 7), (0.4, 0.5)):
        n, k = 2000, int(2000 * share)
        near = torch.stack([torch.randperm(n, generator=draw)[:k] for _ in range(40)])
        similarity = similarity_of_neighbours(near, n)
        assert similarity[~torch.eye(40, dtype=torch.bool)].mean() == pytest.approx(expected, abs=0.01)


def test_the_fewest_samples_have_as_many_neighbours_and_one_less_has_not():
    for neighbours in (2, 3, 20):
        assert most_neighbours(fewest_samples(neighbours)) == neighbours
        assert most_neighbours(fewest_samples(neighbours) - 1) == neighbours - 1
    assert fewest_samples(1) == 5


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (
            8,
            {"k": 20, "eta": 20, "mu": 1.0},
            r"batches of 8 .* 1 here, .*\(T = I\) and .*\(s = 0\); .* 9 images, and 81 ",
        ),
        (
            8,
            {"k": 20, "mu": 1.0},
            r"so that no two images are similar \(T = I\); it takes at least 9 images, and 81 for all k",
        ),
        (9, {"k": 20, "eta": 20, "mu": 2.0}, r"2 here, so that every score is 0 .* at least 13 images"),
        (500, {"k": 1, "eta": 20, "mu": 1.0}, r"\(T = I\); choose k >= 2"),
        (500, {"k": 20, "eta": 20, "mu": 20.0}, r"\(s = 0\); choose eta >= 21"),
    ],
)
def test_too_few_samples_are_named_with_the_reason_and_a_remedy(samples, options, message):
    with pytest.warns(UserWarning, match=message):
        warn_of_few_samples(samples, **options)


def test_enough_samples_and_what_reads_no_neighbours_are_passed_over():
    # A warning would be an error here.
    warn_of_few_samples(9, k=20, eta=20, mu=1.0)
    warn_of_few_samples(5, mu=1.0)
    warn_of_few_samples(5, k=None, eta=1, mu=0.5)


class LargestTensor(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def pair_problem(images, dimensions, dtype, seed=0):
    """Embeddings of both views, a symmetric prior, scores, and a pair network that is not at its start."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2 * images, dimensions, generator=generator, dtype=dtype)
    prior = torch.rand(images, images, generator=generator, dtype=dtype)
    network = PairNetwork(dimensions).to(dtype)
    with torch.no_grad():
        network.projection.weight.copy_(torch.randn(network.projection.weight.shape, generator=generator, dtype=dtype))
        network.scale.fill_(0.3)
        network.offset.fill_(-0.1)
    return z, (prior + prior.T) / 2, torch.rand(images, generator=generator, dtype=dtype), network


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.5, 1.0), (0.0, 0.5)])
@pytest.mark.parametrize("temperature", [0.02, 0.5])
# Blocks of one row, of some, of a number that does not divide the rows, and all at once.
@pytest.mark.parametrize("block", [1, 50, 150, 10_000])
def test_pair_terms_are_the_formulas_with_their_gradients(dtype, learned, bounds, temperature, block, monkeypatch):
    monkeypatch.setattr(adjustment, "BLOCK", block)
    z, prior, scores, network = pair_problem(9, 5, dtype)
    # Copies in both views, and one sample twice.
    z[9:12], z[1] = 2 * z[:3], z[0]
    ours, theirs = (z.clone().requires_grad_() for _ in range(2))
    pairs = pair_terms(ours, prior, scores, network if learned else None, temperature=temperature, bounds=bounds)
    m = network(z) if learned else prior.repeat(2, 2)
    expected = adjustment_loss(theirs, m.detach().clamp(*bounds), scores.repeat(2), temperature)
    torch.testing.assert_close(pairs.adjustment, expected, rtol=TOLERANCE[dtype], atol=0)
    (gradient,) = torch.autograd.grad(pairs.adjustment, ours, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected, theirs)
    torch.testing.assert_close(gradient, wanted, rtol=10 * TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])
    assert torch.equal(pairs.similar, (m[:9, 9:] > 0.5) & ~torch.eye(9, dtype=torch.bool))
    if not learned:
        assert float(pairs.distance.detach()) == 0
        return
    distance = torch.linalg.vector_norm(m - prior.repeat(2, 2)) / 18
    torch.testing.assert_close(pairs.distance, distance, rtol=TOLERANCE[dtype], atol=0)
    parameters = list(network.parameters())
    drawn = torch.autograd.grad(pairs.distance, parameters)
    for mine, autograd in zip(drawn, torch.autograd.grad(distance, parameters), strict=True):
        torch.testing.assert_close(mine, autograd, rtol=10 * TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_gradient_of_the_pair_terms(monkeypatch):
    monkeypatch.setattr(adjustment, "BLOCK", 30)
    z, prior, scores, network = pair_problem(4, 3, torch.float64)
    g, slope, offset = (part.detach().requires_grad_() for part in network.parts(z))

    def both(unit, g, slope, offset):
        return adjustment._PairSums.apply(unit, g, slope, offset, prior, scores, 0.5, (0.0, 1.0))[:2]

    unit = torch.nn.functional.normalize(z, dim=1)
    # M follows g and the adjustment does not, by design: each is checked for what it has a gradient for.
    assert torch.autograd.gradcheck(
        lambda u: both(u, g.detach(), slope.detach(), offset.detach())[0], unit.requires_grad_()
    )
    assert torch.autograd.gradcheck(lambda *parts: both(unit.detach(), *parts)[1], (g, slope, offset))


def test_a_prior_that_is_met_draws_nothing():
    z, _, scores, network = pair_problem(6, 3, torch.float64)
    z[6:] = z[:6]
    pairs = pair_terms(z, network(z)[:6, :6].detach(), scores, network, temperature=0.5)
    assert float(pairs.distance.detach()) < 1e-7
    assert all(g.isfinite().all() for g in torch.autograd.grad(pairs.distance, list(network.parameters())))


@pytest.mark.parametrize("block", [1, 100, 10_000])
def test_neighbours_do_not_depend_on_the_blocks(block, monkeypatch):
    u = with_ties(40, 3, seed=0)
    whole = nearest(u, 7)
    monkeypatch.setattr(neighbourhoods, "BLOCK", block)
    assert torch.equal(nearest(u, 7), whole)


@pytest.mark.parametrize(("images", "times"), [(512, 1.0), (2048, 0.3)])
def test_no_tensor_is_larger_than_the_matrix_of_pairs(images, times, monkeypatch):
    # Beyond a size, no tensor is even as large.
    monkeypatch.setattr(adjustment, "BLOCK", 2**20)
    dimensions = 128
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(images, 64, generator=generator)
    z = torch.randn(2 * images, dimensions, generator=generator, requires_grad=True)
    network = PairNetwork(dimensions)
    with LargestTensor() as largest:
        near = nearest(u, 20)
        prior = similarity_of_neighbours(near[:, :20], images)
        scores = scores_of_neighbours(near[:, 1:], 1)
        pairs = pair_terms(z, prior, scores, network, temperature=0.5)
        (pairs.adjustment + pairs.distance).backward()
    assert z.grad.any()
    assert 0 < largest.elements <= times * (2 * images) ** 2
