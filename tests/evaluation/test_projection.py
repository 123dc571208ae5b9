import numpy as np
import pytest
import torch

from dsabench.evaluation.changes import changed, most_changed, neighbours
from dsabench.evaluation.projection import aligned, discriminant_plane, neighbour_map
from dsabench.types import Features


def blobs(n: int, seed: int = 0) -> Features:
    y = torch.arange(3 * n) % 3
    generator = torch.Generator().manual_seed(seed)
    centres = 8 * torch.eye(3, 6)
    return Features(centres[y] + torch.randn(3 * n, 6, generator=generator), y)


def parted(points: np.ndarray, y: np.ndarray) -> float:
    """The share of points whose nearest class mean is that of their own class."""
    means = np.stack([points[y == c].mean(axis=0) for c in range(3)])
    nearest = np.linalg.norm(points[:, None] - means, axis=2).argmin(axis=1)
    return float((nearest == y).mean())


def test_alignment_undoes_a_turn_a_mirror_a_move_and_a_scale() -> None:
    reference = np.random.default_rng(0).normal(size=(20, 2))
    mirrored = 3.0 * (reference * [1.0, -1.0]) @ np.array([[0.6, -0.8], [0.8, 0.6]]) + [5.0, -7.0]
    np.testing.assert_allclose(aligned(mirrored, reference), reference - reference.mean(axis=0), atol=1e-12)


def test_alignment_changes_no_shape() -> None:
    generator = np.random.default_rng(0)
    points, reference = generator.normal(size=(2, 20, 2))
    turned = aligned(points, reference)
    before, after = (np.linalg.norm(one[:, None] - one, axis=2) for one in (points, turned))
    np.testing.assert_allclose(after / after.max(), before / before.max(), atol=1e-12)
    assert not aligned(np.zeros((4, 2)), reference[:4]).any()


def test_discriminants_part_test_images_that_they_were_not_fitted_on() -> None:
    test = blobs(30, seed=1)
    points = discriminant_plane(blobs(30), test)
    assert points.shape == (90, 2)
    assert parted(points, test.y.numpy()) == 1.0


def test_two_classes_have_one_direction() -> None:
    both = Features(blobs(20).x[blobs(20).y < 2], blobs(20).y[blobs(20).y < 2])
    assert not discriminant_plane(both, both)[:, 1].any()


def test_a_map_keeps_neighbours_and_repeats_itself() -> None:
    features = blobs(15)
    points = neighbour_map(features.x.numpy(), "tsne", seed=0)
    assert parted(points, features.y.numpy()) == 1.0
    np.testing.assert_array_equal(points, neighbour_map(features.x.numpy(), "tsne", seed=0))
    with pytest.raises(ValueError, match="at least 4 images"):
        neighbour_map(features.x[:3].numpy(), "tsne", seed=0)


def test_images_changed_sides_in_so_many_seeds() -> None:
    ours = [np.array([1, 1, 0, 0], bool), np.array([0, 1, 0, 1], bool)]
    theirs = [np.array([1, 0, 1, 0], bool), np.array([1, 0, 0, 0], bool)]
    gained, lost = changed(ours, theirs)
    assert most_changed(gained, 3) == [(1, 2, 0), (3, 1, 1)]
    assert most_changed(lost, 1) == [(0, 1, 1)]


def test_neighbours_are_nearest_by_cosine() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 0.1], [-1.0, 0.0]])
    assert neighbours(torch.tensor([2.0, 0.0]), bank, 3) == [0, 2, 1]
