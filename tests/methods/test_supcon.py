import pytest
import torch
from kit import build, check, labelled, step, unit
from lightly.utils import dist
from torch import Tensor

from dsabench.methods.simclr import SimCLR
from dsabench.methods.supcon import SupCon
from dsabench.methods.supcon_loss import supcon_loss

OPTIONS = {"num_classes": 3, "hidden_dim": 12, "output_dim": 7, "temperature": 0.3}
LABELS = [0, 1, 0, 2, 1, 0, 2, 2]


def written_out(z: Tensor, labels: list[int]) -> Tensor:
    """The loss `out` of arXiv 2004.11362, eq. 2, averaged over the anchors."""
    z, losses = unit(z), []
    for i in range(len(z)):
        shares = {a: torch.exp(z[i] @ z[a] / 0.3) for a in range(len(z)) if a != i}
        total = torch.stack(list(shares.values())).sum()
        positives = [torch.log(shares[p] / total) for p in shares if labels[p] == labels[i]]
        losses.append(-torch.stack(positives).sum() / len(positives))
    return torch.stack(losses).mean()


def embeddings(n: int = 8) -> Tensor:
    return torch.randn(n, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_loss_is_the_formula_and_so_is_its_gradient() -> None:
    z = embeddings().requires_grad_()
    loss, expected = supcon_loss(z, torch.tensor(LABELS), 0.3), written_out(z, LABELS)
    assert abs(float(loss.detach() - expected.detach())) < 1e-9
    found, wanted = (torch.autograd.grad(value, z)[0] for value in (loss, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_the_method_compares_both_views_of_all_images() -> None:
    output = build(SupCon, **OPTIONS).double()(labelled(LABELS, dtype=torch.float64))
    check(output, lambda z1, z2: written_out(torch.cat([z1, z2]), LABELS * 2))


def test_with_a_class_for_each_image_it_is_simclr() -> None:
    batch = labelled(list(range(8)))
    plain = build(SimCLR, hidden_dim=12, output_dim=7, temperature=0.3)
    torch.testing.assert_close(build(SupCon, **OPTIONS)(batch).loss, plain(batch).loss)


def test_two_processes_compute_the_loss_of_their_batches_together(monkeypatch: pytest.MonkeyPatch) -> None:
    z, labels = embeddings(), torch.tensor(LABELS)
    halves = []
    for rank in (0, 1):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(dist, "world_size", lambda: 2)
        monkeypatch.setattr(dist, "gather", lambda x: (unit(z) if x.is_floating_point() else labels).chunk(2))
        halves.append(supcon_loss(z.chunk(2)[rank], labels.chunk(2)[rank], 0.3))
    assert abs(float(sum(halves) / 2 - written_out(z, LABELS))) < 1e-9


def test_a_step_moves_everything() -> None:
    assert step(build(SupCon, **OPTIONS), labelled(LABELS)) == ({"backbone", "projector"}, set())


@pytest.mark.parametrize("value", [0.0, -0.5])
def test_the_temperature_must_be_positive(value: float) -> None:
    with pytest.raises(ValueError, match="temperature must be above 0"):
        build(SupCon, **OPTIONS | {"temperature": value})
