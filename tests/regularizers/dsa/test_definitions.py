"""The definitions of DSA's parts against nested loops in NumPy, hand-made cases, their invariances and gradients."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dsabench.regularizers.dsa import (
    adjustment_loss,
    exponential_similarity,
    good_neighbour_scores,
    shared_neighbour_similarity,
)
from dsabench.regularizers.dsa.definitions import adjacency

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
DTYPES = tuple(TOLERANCE)
# (samples, dimensions, neighbours), from the smallest batch there can be to more dimensions than samples.
SHAPES = [(2, 1, 1), (3, 2, 1), (6, 2, 5), (9, 4, 2), (13, 7, 12), (20, 3, 6), (11, 40, 4)]


def cosine(x, y):
    return float(np.dot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y)))


def reference_neighbours(u, k, include_self):
    """A (N, N): rows of the k nearest by cosine, ties (equal to 2^-40) to the lower index, self by force."""
    n = len(u)
    adjacency = np.zeros((n, n), dtype=int)
    for i in range(n):
        others = sorted((-round(cosine(u[i], u[j]) * 2**40), j) for j in range(n) if j != i)
        chosen = [i] + [j for _, j in others[: k - 1]] if include_self else [j for _, j in others[:k]]
        for j in chosen:
            adjacency[i, j] = 1
    return adjacency


def reference_scores(u, eta, mu):
    n, a = len(u), reference_neighbours(u, eta, include_self=False)
    paths = np.zeros((n, n), dtype=int)
    for i in range(n):
        for j in range(n):
            for middle in range(n):
                paths[i, j] += a[i, middle] * a[middle, j]
    scores = np.zeros(n)
    for i in range(n):
        for j in range(n):
            if a[i, j] and paths[j, i] > mu:
                scores[i] += 1 / eta
    return scores


def reference_shared(u, k):
    n, a = len(u), reference_neighbours(u, k, include_self=True)
    similarity = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            shared = sum(a[i, m] * a[j, m] for m in range(n))
            similarity[i, j] = min(1.0, 2 * shared / (2 * k - shared))
    return similarity


def reference_exponential(u1, u2, temperature):
    similarity = np.zeros((len(u1), len(u2)))
    for i, x in enumerate(u1):
        for j, y in enumerate(u2):
            distance = np.linalg.norm(x / np.linalg.norm(x) - y / np.linalg.norm(y))
            similarity[i, j] = math.exp(-distance / temperature)
    return similarity


def reference_adjustment(z, m, scores, tau):
    """log(1 + 1/4 sum_ab mean_ij exp(s_i (2 M_ij - 1) d_ij / tau)), the blocks ab in turn.

    `z[a]` (N, D), `m[a][b]` (N, N), `scores` (N,); the self pairs of 11 and 22 add 0 but count in the mean.
    """
    n, total = len(scores), 0.0
    for a in range(2):
        for b in range(2):
            block = 0.0
            for i in range(n):
                for j in range(n):
                    if a == b and i == j:
                        continue
                    x, y = z[a][i] / np.linalg.norm(z[a][i]), z[b][j] / np.linalg.norm(z[b][j])
                    block += math.exp(scores[i] * (2 * m[a][b][i, j] - 1) * np.linalg.norm(x - y) / tau)
            total += block / (n * n)
    return math.log(1 + total / 4)


def draw(*shape, seed=0):
    """Numbers whose rows are far from unit length."""
    generator = np.random.default_rng([seed, *shape])
    scales = 10.0 ** generator.uniform(-2, 2, (shape[0], *[1] * (len(shape) - 1)))
    return generator.normal(size=shape) * scales


def with_ties(n, dimensions, seed=0):
    """Small integers with copies and multiples of rows: many cosines are equal, many samples the same."""
    generator = np.random.default_rng([seed, n, dimensions])
    u = generator.integers(-1, 2, (n, dimensions)).astype(float)
    u[~u.any(axis=1)] = 1.0
    u[n // 2 :] = u[: n - n // 2] * generator.integers(1, 4, (n - n // 2, 1))
    return u


def samples(n, dimensions):
    return [*(draw(n, dimensions, seed=seed) for seed in range(3)), with_ties(n, dimensions)]


def orthogonal(dimensions):
    return torch.from_numpy(np.linalg.qr(draw(dimensions, dimensions, seed=7))[0])


def problem(n, dimensions, seed=0):
    """Embeddings, a similarity per block and scores for the adjustment loss, as NumPy arrays."""
    generator = np.random.default_rng(seed)
    z = [draw(n, dimensions, seed=seed), draw(n, dimensions, seed=seed + 1)]
    m = [[generator.uniform(size=(n, n)) for _ in range(2)] for _ in range(2)]
    return z, m, generator.uniform(size=n)


def stacked(z, m, scores, dtype=torch.float64):
    """The same for `adjustment_loss`: views stacked, blocks in one matrix."""
    return (
        torch.from_numpy(np.concatenate(z)).to(dtype),
        torch.from_numpy(np.block(m)).to(dtype),
        torch.from_numpy(np.tile(scores, 2)).to(dtype),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "dimensions", "k"), SHAPES)
def test_neighbours_scores_and_shared_neighbours_are_those_of_the_definition(n, dimensions, k, dtype):
    for u in samples(n, dimensions):
        x = torch.from_numpy(u).to(dtype)
        u = x.double().numpy()
        for include_self in (False, True):
            ours = adjacency(x, k, include_self=include_self)
            np.testing.assert_array_equal(ours.numpy(), reference_neighbours(u, k, include_self))
        for mu in (0, 1, 2.5):
            scores = good_neighbour_scores(x, k, mu)
            assert scores.dtype == dtype
            np.testing.assert_allclose(scores.numpy(), reference_scores(u, k, mu), rtol=0, atol=1e-6)
            assert scores.min() >= 0
            assert scores.max() <= 1
        similarity = shared_neighbour_similarity(x, k)
        np.testing.assert_allclose(similarity.numpy(), reference_shared(u, k), rtol=0, atol=1e-6)
        assert similarity.dtype == dtype
        assert torch.equal(similarity, similarity.T)
        assert (similarity.diagonal() == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "dimensions", "k"), SHAPES)
@pytest.mark.parametrize("temperature", [0.1, 0.5, 3.0])
def test_exponential_similarity_is_that_of_the_definition(n, dimensions, k, temperature, dtype):
    u1, u2 = draw(n, dimensions), draw(k, dimensions, seed=1)
    u2[0] = u1[0]
    similarity = exponential_similarity(torch.from_numpy(u1).to(dtype), torch.from_numpy(u2).to(dtype), temperature)
    # The square root of a float32 difference is what limits the small distances.
    np.testing.assert_allclose(similarity, reference_exponential(u1, u2, temperature), rtol=0, atol=TOLERANCE[dtype])
    assert similarity.dtype == dtype
    assert similarity[0, 0] == 1
    assert similarity.min() > 0
    assert similarity.max() <= 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_similarity_of_coincident_features_is_one_with_no_gradient(dtype):
    u = torch.from_numpy(draw(4, 3)).to(dtype).requires_grad_()
    similarity = exponential_similarity(u, 3.0 * u.detach(), 0.5).diagonal()
    assert (similarity == 1).all()
    assert not torch.autograd.grad(similarity.sum(), u)[0].any()
    assert torch.autograd.grad(exponential_similarity(u, u.detach(), 0.5).sum(), u)[0].isfinite().all()


def test_exponential_similarity_of_a_batch_with_itself_is_symmetric_and_one_on_the_diagonal():
    u = torch.from_numpy(draw(9, 4))
    similarity = exponential_similarity(u, u, 0.5)
    torch.testing.assert_close(similarity, similarity.T, rtol=0, atol=1e-12)
    assert (similarity.diagonal() == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tau", [0.2, 0.5, 2.0])
@pytest.mark.parametrize(("n", "dimensions"), [(1, 3), (2, 2), (5, 3), (8, 20)])
def test_adjustment_loss_is_the_four_block_formula(n, dimensions, tau, dtype):
    for seed in range(3):
        z, m, scores = problem(n, dimensions, seed)
        loss = adjustment_loss(*stacked(z, m, scores, dtype), tau)
        expected = reference_adjustment(z, m, scores, tau)
        assert loss.dtype == dtype
        assert loss.shape == ()
        assert float(loss) == pytest.approx(expected, rel=TOLERANCE[dtype], abs=TOLERANCE[dtype])


def test_adjustment_loss_counts_the_same_sample_in_both_views_as_a_pair_and_a_sample_with_itself_not():
    # One image: the blocks 12 and 21 hold one pair each, 11 and 22 nothing; at distance 2 of opposite vectors.
    z = torch.tensor([[3.0, 0.0], [-0.1, 0.0]], dtype=torch.float64)
    loss = adjustment_loss(z, torch.ones(2, 2, dtype=torch.float64), torch.ones(2, dtype=torch.float64), 0.5)
    assert float(loss) == pytest.approx(math.log(1 + 2 * math.exp(4.0) / 4), rel=1e-12)


def test_self_is_in_or_out_by_force_and_ties_go_to_the_lower_index():
    copies = torch.ones(5, 3)
    assert adjacency(copies, 2, include_self=False).tolist() == [
        [0, 1, 1, 0, 0],
        [1, 0, 1, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
    ]
    assert adjacency(copies, 2, include_self=True).tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 0, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [1, 0, 0, 0, 1],
    ]


@pytest.mark.parametrize("n", [16, 100, 257])
def test_copies_tie_whatever_the_order_in_which_a_product_was_summed(n):
    # Products of this size are summed in blocks, so that copies differ in their last bits before they are rounded.
    row = torch.from_numpy(draw(1, 300)).float()
    k = n // 4
    near = adjacency(row.repeat(n, 1), k, include_self=False)
    lowest = torch.arange(k + 1)
    for i in range(n):
        assert near[i].nonzero().flatten().tolist() == [j for j in lowest.tolist() if j != i][:k]


@pytest.mark.parametrize("k", [-1, 0, 6, 100])
def test_more_neighbours_than_there_are_others_is_an_error(k):
    u = torch.from_numpy(draw(6, 3))
    for function in (
        lambda: adjacency(u, k, include_self=True),
        lambda: adjacency(u, k, include_self=False),
        lambda: good_neighbour_scores(u, k, 1),
        lambda: shared_neighbour_similarity(u, k),
    ):
        with pytest.raises(ValueError, match=rf"k = {k} neighbours .* got 6 samples"):
            function()


def test_shapes_and_values_that_do_not_fit_are_errors_in_clear_words():
    for wrong, message in (
        (torch.zeros(4), r"features of shape \(N, P\), got torch.float32 of shape \(4,\)"),
        (torch.zeros(4, 2, dtype=torch.int64), "floating-point features"),
        (torch.tensor([[1.0], [math.nan], [2.0]]), "must be finite"),
        (torch.tensor([[1.0], [math.inf], [2.0]]), "must be finite"),
    ):
        for function in (lambda u: good_neighbour_scores(u, 1, 1), lambda u: shared_neighbour_similarity(u, 1)):
            with pytest.raises(ValueError, match=message):
                function(wrong)
    for pair in ((torch.zeros(3, 2), torch.zeros(3, 4)), (torch.zeros(3), torch.zeros(3, 4))):
        with pytest.raises(ValueError, match="for both views"):
            exponential_similarity(*pair, 0.5)
    z, m, scores = stacked(*problem(3, 2))
    for wrong in ((z, m[:-1], scores), (z, m, scores[:3]), (z[:-1], m, scores)):
        with pytest.raises(ValueError, match="expected similarity"):
            adjustment_loss(*wrong, 0.5)
    for embeddings in (z[:, 0], z[:1]):
        with pytest.raises(ValueError, match=r"embeddings of shape \(R, D\) with R >= 2"):
            adjustment_loss(embeddings, m, scores, 0.5)
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="temperature must be above 0"):
            adjustment_loss(z, m, scores, temperature)
        with pytest.raises(ValueError, match="temperature must be above 0"):
            exponential_similarity(z, z, temperature)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_adjustment_loss_takes_any_real_matrix(scale):
    # Not symmetric, below 0 and above 1, scores too.
    generator = np.random.default_rng(4)
    for n, dimensions in ((2, 3), (6, 4)):
        z, _, _ = problem(n, dimensions)
        m = [[scale * generator.normal(size=(n, n)) for _ in range(2)] for _ in range(2)]
        scores = generator.normal(size=n)
        inputs = stacked(z, m, scores)
        assert float(adjustment_loss(*inputs, 0.5)) == pytest.approx(reference_adjustment(z, m, scores, 0.5), rel=1e-9)
        assert torch.autograd.gradcheck(lambda *x: adjustment_loss(*x, 0.5), [x.requires_grad_() for x in inputs])


def test_adjustment_loss_of_a_large_matrix_does_not_overflow():
    z, m, scores = stacked(*problem(5, 3), torch.float32)
    z.requires_grad_()
    loss = adjustment_loss(z, 1e4 * (m - 0.5), scores, 0.5)
    loss.backward()
    # log(1 + exp(x) / R^2) is x - 2 log R where x is large.
    assert 1e3 < float(loss.detach()) < 1e5
    assert z.grad.isfinite().all()


def everything(u: Tensor, k: int = 4) -> list[Tensor]:
    """Every function of samples `u` (2N, D), whose embeddings are the samples themselves."""
    similarity, scores = shared_neighbour_similarity(u, k).to(u.dtype), good_neighbour_scores(u, k, 1).to(u.dtype)
    weights = torch.linspace(0.2, 1.0, len(u), dtype=u.dtype)
    loss = adjustment_loss(u, similarity, scores + 0.1, 0.5)
    return [similarity, scores, exponential_similarity(u, u, 0.5), loss, adjustment_loss(u, similarity, weights, 0.5)]


def test_rotation_and_the_length_of_a_row_change_nothing():
    u = torch.from_numpy(draw(24, 5))
    lengths = torch.from_numpy(np.random.default_rng(1).uniform(0.01, 100, (24, 1)))
    for same in (u @ orthogonal(5), u * lengths):
        for before, after in zip(everything(u), everything(same), strict=True):
            torch.testing.assert_close(after, before, rtol=0, atol=1e-9)


def test_the_order_of_the_samples_changes_the_order_of_the_results_alone():
    u = torch.from_numpy(draw(24, 5))
    order = torch.from_numpy(np.random.default_rng(2).permutation(24))
    similarity, scores, exponential, loss, _ = everything(u)
    permuted = everything(u[order])
    torch.testing.assert_close(permuted[0], similarity[order][:, order], rtol=0, atol=0)
    torch.testing.assert_close(permuted[1], scores[order], rtol=0, atol=0)
    torch.testing.assert_close(permuted[2], exponential[order][:, order], rtol=0, atol=1e-12)
    torch.testing.assert_close(permuted[3], loss, rtol=0, atol=1e-12)


def test_an_outlier_gets_no_score_and_a_tight_cluster_all_of_it():
    generator = np.random.default_rng(0)
    cluster = np.array([1.0, 0.0, 0.0]) + 0.01 * generator.normal(size=(8, 3))
    u = torch.from_numpy(np.vstack([cluster, [[-1.0, 0.0, 0.0]]]))
    scores = good_neighbour_scores(u, 7, 1)
    assert scores[-1] == 0
    assert (scores[:-1] == 1).all()


def test_gradient_of_the_adjustment_loss():
    z, m, scores = (x.requires_grad_() for x in stacked(*problem(3, 4)))
    assert torch.autograd.gradcheck(lambda *inputs: adjustment_loss(*inputs, 0.5), (z, m, scores))


@pytest.mark.parametrize("dtype", DTYPES)
def test_coincident_points_are_finite_and_have_no_gradient(dtype):
    z = torch.ones(8, 3, dtype=dtype, requires_grad=True)
    loss = adjustment_loss(z, torch.zeros(8, 8, dtype=dtype), torch.ones(8, dtype=dtype), 0.01)
    assert float(loss.detach()) == pytest.approx(math.log(1 + 56 / 64), rel=1e-6)
    loss.backward()
    assert not z.grad.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_pair_that_coincides_leaves_the_gradient_of_the_others_as_it_is(dtype):
    rows = torch.from_numpy(draw(6, 4)).to(dtype)
    rows[3] = 5 * rows[0]
    z = rows.clone().requires_grad_()
    similarity = torch.full((6, 6), 0.1, dtype=dtype)
    adjustment_loss(z, similarity, torch.ones(6, dtype=dtype), 0.5).backward()
    assert z.grad.isfinite().all()
    assert z.grad.any()

    # The pair itself has no say: with an exponent of 0 for it, the gradient is the same.
    neutral = similarity.clone()
    neutral[0, 3] = neutral[3, 0] = 0.5
    other = rows.clone().requires_grad_()
    adjustment_loss(other, neutral, torch.ones(6, dtype=dtype), 0.5).backward()
    torch.testing.assert_close(z.grad, other.grad)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [0.0, 1.0])
def test_a_small_temperature_does_not_overflow(m, dtype):
    z = torch.from_numpy(draw(16, 8)).to(dtype).requires_grad_()
    loss = adjustment_loss(z, torch.full((16, 16), m, dtype=dtype), torch.ones(16, dtype=dtype), 0.01)
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()
    # exp(200) is the most there can be, far beyond float32: its logarithm is what remains.
    assert (100 < loss.detach() < 200) if m else (0 <= loss.detach() < 1)


def test_similar_pairs_are_pulled_and_others_pushed():
    # Rows 0 and 1 are similar, 2 and 3 are not, and nothing is said of the other pairs.
    angles = torch.tensor([0.0, 1.0, 2.2, 4.0], dtype=torch.float64)
    z = torch.stack([angles.cos(), angles.sin()], dim=1).requires_grad_()
    similarity = torch.full((4, 4), 0.5, dtype=torch.float64)
    similarity[0, 1] = similarity[1, 0] = 0.95
    similarity[2, 3] = similarity[3, 2] = 0.05
    adjustment_loss(z, similarity, torch.ones(4, dtype=torch.float64), 0.5).backward()
    moved = z.detach() - 0.1 * z.grad
    moved /= moved.norm(dim=1, keepdim=True)
    before = z.detach()
    assert (moved[0] - moved[1]).norm() < (before[0] - before[1]).norm() - 1e-3
    # The exponential makes pushing apart gentle where the distance is large already.
    assert (moved[2] - moved[3]).norm() > (before[2] - before[3]).norm() + 1e-4


def test_without_a_score_or_with_an_undecided_similarity_nothing_moves():
    z, m, scores = stacked(*problem(4, 3))
    for similarity, weights in ((m, torch.zeros_like(scores)), (torch.full_like(m, 0.5), scores)):
        rows = z.clone().requires_grad_()
        adjustment_loss(rows, similarity, weights, 0.5).backward()
        assert not rows.grad.any()


def test_a_sample_without_a_score_asks_for_nothing_itself():
    z, m, scores = stacked(*problem(4, 3))
    scores[[2, 6]] = 0.0
    changed = m.clone()
    changed[[2, 6]] = 1.0 - changed[[2, 6]]
    gradients = []
    for similarity in (m, changed):
        rows = z.clone().requires_grad_()
        adjustment_loss(rows, similarity, scores, 0.5).backward()
        gradients.append(rows.grad)
    assert torch.equal(*gradients)
