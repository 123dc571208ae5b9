import pytest
import torch
from kit import unit
from sklearn.cluster import KMeans
from torch import Tensor

from dsabench.methods import kmeans
from dsabench.methods.kmeans import draw_centres, spherical_kmeans


def blobs(clusters: int = 6, each: int = 30) -> tuple[Tensor, Tensor]:
    """Noise (N, 10) around so many orthogonal directions, and which one each sample is of."""
    draw = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(10, 10, generator=draw))[0][:clusters]
    return axes.repeat_interleave(each, 0) + 0.05 * torch.randn(clusters * each, 10, generator=draw), torch.arange(
        clusters
    ).repeat_interleave(each)


def together(labels: Tensor) -> Tensor:
    return labels[:, None] == labels


def test_it_finds_what_is_there_however_long_the_rows_and_so_does_scikit_learn() -> None:
    x, truth = blobs()
    torch.manual_seed(1)
    found = spherical_kmeans(x * torch.rand(len(x), 1).add(0.1), 6)
    assert torch.equal(together(found), together(truth))
    theirs = KMeans(6, n_init=3, random_state=0).fit(unit(x).numpy()).labels_
    assert torch.equal(together(found), together(torch.from_numpy(theirs)))


@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_every_iteration_is_lloyds(iterations: int) -> None:
    x = unit(torch.randn(60, 4, generator=torch.Generator().manual_seed(3)))
    torch.manual_seed(2)
    centres = list(draw_centres(x, 5))
    torch.manual_seed(2)
    found = spherical_kmeans(x, 5, iterations)
    for _ in range(iterations):
        labels = [max(range(5), key=lambda c, row=row: float(row @ centres[c])) for row in x]
        members = [torch.stack([row for row, label in zip(x, labels, strict=True) if label == c]) for c in range(5)]
        centres = [rows.sum(0) / rows.sum(0).norm() for rows in members]
    assert found.tolist() == [max(range(5), key=lambda c, row=row: float(row @ centres[c])) for row in x]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(100, 5, generator=torch.Generator().manual_seed(4))
    results = []
    for block in (2**14, 7):
        monkeypatch.setattr(kmeans, "BLOCK", block)
        torch.manual_seed(0)
        results.append(spherical_kmeans(x, 8))
    assert torch.equal(*results)


def test_centres_are_samples_far_from_each_other() -> None:
    x, truth = blobs()
    x = unit(x)
    hits = 0
    for seed in range(20):
        torch.manual_seed(seed)
        centres = draw_centres(x, 6)
        where = [int((x == centre).all(dim=1).nonzero()) for centre in centres]
        hits += truth[where].unique().numel() == 6
    # Six blobs all hit by six uniform draws: 1.5% of the time. By squared distances hardly ever two in one.
    assert hits >= 15


def test_copies_leave_clusters_empty_and_everything_finite() -> None:
    x = torch.eye(3).repeat_interleave(10, 0)
    found = spherical_kmeans(x, 5)
    assert torch.equal(together(found), together(torch.arange(3).repeat_interleave(10)))
    assert spherical_kmeans(torch.ones(4, 2), 4).unique().numel() == 1


@pytest.mark.parametrize("clusters", [0, 11])
def test_clusters_that_cannot_be(clusters: int) -> None:
    with pytest.raises(ValueError, match=f"{clusters} clusters need"):
        spherical_kmeans(torch.randn(10, 3), clusters)
