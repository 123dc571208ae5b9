import pytest
import torch
from kit import FEATURES, build, check, labelled, step, unit, views
from torch import Tensor

from dsabench.methods.simclr import SimCLR
from dsabench.methods.supcon import SupCon
from dsabench.methods.supcon_kmeans import SupConKMeans

HEAD = {"hidden_dim": 12, "output_dim": 7, "temperature": 0.3}
OPTIONS = {**HEAD, "clusters": 3, "every": 1.0, "num_images": 20}


def written_out(z: Tensor, labels: list[int]) -> Tensor:
    """The loss `out` of arXiv 2004.11362, eq. 2, averaged over the anchors."""
    z, losses = unit(z), []
    for i in range(len(z)):
        shares = {a: torch.exp(z[i] @ z[a] / 0.3) for a in range(len(z)) if a != i}
        total = torch.stack(list(shares.values())).sum()
        positives = [torch.log(shares[p] / total) for p in shares if labels[p] == labels[i]]
        losses.append(-torch.stack(positives).sum() / len(positives))
    return torch.stack(losses).mean()


def test_loss_and_gradient_are_those_of_the_paper_with_clusters_for_classes() -> None:
    method = build(SupConKMeans, **OPTIONS).double()
    clusters = [0, 1, 0, 2, 1, 0, 2, 2]
    method.labels[:8] = torch.tensor(clusters)
    check(method(views(dtype=torch.float64)), lambda z1, z2: written_out(torch.cat([z1, z2]), clusters * 2))


def test_it_begins_as_simclr_and_goes_on_as_supcon() -> None:
    method = build(SupConKMeans, **OPTIONS)
    torch.testing.assert_close(method(views()).loss, build(SimCLR, **HEAD)(views()).loss)
    clusters = [0, 1, 0, 2, 1, 0, 2, 2]
    method.labels[:8] = torch.tensor(clusters)
    torch.testing.assert_close(method(views()).loss, build(SupCon, num_classes=3, **HEAD)(labelled(clusters)).loss)


def test_the_bank_keeps_what_was_seen_last_and_clusters_come_when_all_have_passed() -> None:
    method = build(SupConKMeans, **OPTIONS)
    kept = torch.zeros(20, FEATURES)
    own = 3 + torch.arange(20)
    for seed, index in enumerate([range(8), range(6, 14), range(4, 12), range(8)]):
        rows = torch.tensor(list(index))
        before = method.labels.clone()
        known = kept.clone()
        output = method(views(seed=seed)._replace(index=rows))
        kept[rows] = ((unit(output.h1) + unit(output.h2)) / 2).detach()
        torch.testing.assert_close(method.bank, kept)
        if seed < 3:
            assert torch.equal(method.labels, own)
        else:
            # 24 of 20 have passed: now, and from what was known before this batch; six images were never seen.
            assert torch.equal(before, own)
            assert method.labels[:14].max() < 3
            assert torch.equal(method.labels[14:], own[14:])
            means = torch.stack([unit(known[:14])[method.labels[:14] == c].sum(0) for c in range(3)])
            nearest = (unit(known[:14]) @ unit(means).T).argmax(1)
            assert torch.equal(nearest, method.labels[:14])
            assert int(method.passed.buffer) == 8


def test_in_eval_mode_nothing_is_kept() -> None:
    method = build(SupConKMeans, **OPTIONS).eval()
    method(views())
    assert not method.bank.any()
    assert int(method.passed.buffer) == 0


def test_clusters_are_drawn_by_the_step() -> None:
    results = []
    for seed in (0, 0, 1):
        method = build(SupConKMeans, **OPTIONS | {"clusters": 8})
        method.bank.copy_(torch.randn(20, FEATURES, generator=torch.Generator().manual_seed(9)))
        torch.manual_seed(seed)
        method.recluster()
        results.append(method.labels.clone())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_step_moves_everything() -> None:
    assert step(build(SupConKMeans, **OPTIONS), views()) == ({"backbone", "projector"}, set())


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("clusters", 1, "clusters must lie in 2 to 20 training images"),
        ("clusters", 21, "clusters must lie in 2 to 20 training images"),
        ("every", 0.0, "every must be above 0"),
        ("temperature", 0.0, "temperature must be above 0"),
    ],
)
def test_options_that_cannot_be(option: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(SupConKMeans, **OPTIONS | {option: value})
