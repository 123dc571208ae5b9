import pytest
import torch
from kit import info_nce as written_out
from lightly.utils import dist

from dsabench.checks import require_positive, require_share
from dsabench.methods.info_nce import info_nce


def rows(seed: int, n: int = 6) -> torch.Tensor:
    return torch.randn(n, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_info_nce_is_the_formula_and_so_is_its_gradient() -> None:
    mine, theirs = ([rows(0).requires_grad_(), rows(1).requires_grad_()] for _ in range(2))
    loss, expected = info_nce(*mine, 0.3), written_out(*theirs, 0.3)
    assert abs(float(loss.detach() - expected.detach())) < 1e-9
    for found, wanted in zip(torch.autograd.grad(loss, mine), torch.autograd.grad(expected, theirs), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_info_nce_of_two_processes_is_that_of_their_batches_together(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, keys = rows(0), rows(1)
    halves = []
    for rank in (0, 1):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(dist, "world_size", lambda: 2)
        monkeypatch.setattr(dist, "gather", lambda x: keys.chunk(2))
        halves.append(info_nce(queries.chunk(2)[rank], keys.chunk(2)[rank], 0.3))
    assert abs(float(sum(halves) / 2 - written_out(queries, keys, 0.3))) < 1e-9


@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_what_is_not_above_zero_is_named(value: float) -> None:
    with pytest.raises(ValueError, match="temperature must be above 0, got"):
        require_positive(size=1, temperature=value)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_named(value: float) -> None:
    with pytest.raises(ValueError, match=r"momentum must lie in \[0, 1\], got"):
        require_share(momentum=value)
    require_share(momentum=0, other=1)
