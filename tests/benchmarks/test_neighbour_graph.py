"""What is read off graphs of neighbours: communities and scores, by hand-made graphs and plain loops."""

from collections import Counter
from statistics import fmean

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.neighbour_graph import adjacency, communities, dsa_scores, propagated, scores
from dsabench.evaluation.outside import auroc
from dsabench.regularizers.dsa import good_neighbour_scores


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def near_of(unit: Tensor, k: int) -> list[list[int]]:
    cosine = (unit @ unit.T).tolist()
    return [sorted((j for j in range(len(unit)) if j != i), key=lambda j: -cosine[i][j])[:k] for i in range(len(unit))]


@pytest.mark.parametrize("size", [4, 8, 20])
def test_two_cliques_that_one_edge_joins_are_two_communities(size: int) -> None:
    clique = torch.ones(size, size, dtype=torch.bool)
    linked = torch.block_diag(clique, clique, torch.zeros(1, 1)).bool().fill_diagonal_(False)
    linked[0, size] = linked[size, 0] = True
    label = propagated(linked)
    first, second, alone = label.split([size, size, 1])
    assert (first == first[0]).all()
    assert (second == second[0]).all()
    assert len({int(first[0]), int(second[0]), int(alone)}) == 3
    assert torch.equal(propagated(linked), label)


def test_everybody_ends_where_most_neighbours_are() -> None:
    linked = torch.rand(120, 120, generator=torch.Generator().manual_seed(0)) < 0.06
    linked = (linked | linked.T).fill_diagonal_(False)
    label = propagated(linked)
    for image in range(120):
        counts = Counter(label[linked[image]].tolist())
        assert counts[int(label[image])] == max(counts.values(), default=0)


def test_communities_are_held_against_classes() -> None:
    # Groups far apart, and an image in each of the first two that is of another class.
    group = torch.arange(3).repeat_interleave(torch.tensor([20, 15, 5]))
    unit = normalize(10 * torch.eye(16)[group] + normal(40, 16), dim=1)
    classes = group.clone()
    classes[0], classes[20] = 2, 0
    near = near_of(unit, 39)
    points = adjacency(torch.tensor([one[:4] for one in near]))
    label = propagated(points & points.T).tolist()
    together = [[j for j in range(40) if j != i and label[j] == label[i]] for i in range(40)]
    mutual = [[j for j in near[i][:4] if i in near[j][:4]] for i in range(40)]
    nearest = [near[i][: len(together[i])] for i in range(40)]
    inside = [i for i in range(40) if together[i]]
    assert 30 < len(inside) < 40

    def same(pairs: list[list[int]]) -> float:
        return fmean(fmean(float(classes[j] == classes[i]) for j in pairs[i]) for i in inside)

    found = communities(unit, 4, classes)
    sizes = Counter(label).values()
    assert found.communities == sum(size > 1 for size in sizes)
    spread = [len(inside) / 40, max(sizes) / 40, fmean(len(together[i]) for i in inside)]
    assert list(found[1:]) == pytest.approx([*spread, same(together), same(mutual), same(nearest)], abs=1e-6)


def test_scores_are_what_is_written() -> None:
    unit, k = normalize(normal(30, 6), dim=1), 5
    near = near_of(unit, k)
    expected = {
        "in_degree": [sum(i in one for one in near) for i in range(30)],
        "cosine": [sum(float(unit[i] @ unit[j]) for j in near[i]) / k for i in range(30)],
        "mutual": [sum(i in near[j] for j in near[i]) / k for i in range(30)],
        "transitivity": [sum(m in near[j] for j in near[i] for m in near[i]) / k**2 for i in range(30)],
    }
    found = scores(unit, k)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].tolist() == pytest.approx(values, abs=1e-6), name
    with pytest.raises(ValueError, match="k >= 2, got 1"):
        scores(unit, 1)


def test_the_score_of_dsa_is_its_own_with_a_quarter_of_the_others_at_most() -> None:
    for images, k in ((200, 20), (41, 10)):
        unit = normalize(normal(images, 8), dim=1)
        assert torch.equal(dsa_scores(unit), good_neighbour_scores(unit, k, 1.0))


def test_scores_find_what_lies_outside_of_a_cluster() -> None:
    cluster = torch.eye(32)[0] + 0.1 * normal(600, 32)
    unit = normalize(torch.cat([cluster, normal(6, 32, seed=1)]), dim=1)
    outside = torch.arange(606) >= 600
    found = scores(unit, 32)
    # None but each other have them among their nearest.
    assert float(found["in_degree"][outside].max()) <= 5 < float(found["in_degree"][~outside].mean())
    for name in ("in_degree", "cosine", "mutual"):
        assert auroc(-found[name][outside], -found[name][~outside]) > 0.9, name


def test_local_transitivity_finds_a_cloud_among_groups_though_its_images_are_each_others_neighbours() -> None:
    groups = 3 * normal(12, 32, seed=1).repeat_interleave(25, dim=0) + normal(300, 32, seed=2)
    cloud = 30 * torch.eye(32)[0] + normal(100, 32, seed=3)
    unit = normalize(torch.cat([groups, cloud]), dim=1)
    outside = torch.arange(400) >= 300
    found = scores(unit, 16)
    assert auroc(-found["transitivity"][outside], -found["transitivity"][~outside]) > 0.9
    assert auroc(-found["cosine"][outside], -found["cosine"][~outside]) < 0.1
