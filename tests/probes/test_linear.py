"""The linear probe: its choice of C, what it is invariant to, and that a failed fit is said."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import dsabench.probes.linear as module
from dsabench.probes.base import fit, scores_of
from dsabench.probes.linear import C_GRID
from dsabench.types import Features, Score


def noisy(n: int, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (n,), generator=generator)
    x = torch.randn(n, 10, generator=generator) * torch.logspace(-2, 2, 10)
    x[:, 4:7] += 0.8 * torch.eye(3)[y]
    return Features(x, y)


TRAIN, VAL, TEST = noisy(90, 0), noisy(200, 1), noisy(300, 2)


def linear(train: Features, val: Features, test: Features, *, seed: int) -> list[Score]:
    return scores_of(module.linear(train, val, test, seed=seed), test.y)


def cold_fits() -> list[tuple[float, float]]:
    """Validation and test accuracy for each C, each fitted from nothing on scikit-learn's own standardisation."""
    scaler = StandardScaler().fit(TRAIN.x.double().numpy())
    rows = []
    for c in C_GRID:
        model = LogisticRegression(C=c, tol=1e-6, max_iter=5000).fit(scaler.transform(TRAIN.x.double()), TRAIN.y)
        rows.append(tuple(model.score(scaler.transform(split.x.double()), split.y) for split in (VAL, TEST)))
    return rows


def test_c_is_the_smallest_of_the_best_on_validation() -> None:
    rows = cold_fits()
    best = max(range(len(C_GRID)), key=lambda i: rows[i][0])
    score, chosen = linear(TRAIN, VAL, TEST, seed=0)
    assert len({row[0] for row in rows}) > 1
    assert (chosen.metric, chosen.value, chosen.higher_is_better) == ("chosen_C", C_GRID[best], None)
    assert score.value == pytest.approx(rows[best][1], abs=1e-12)


def test_copies_in_files_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    held = module.fit_linear(TRAIN, VAL, TEST)
    monkeypatch.setattr("dsabench.files.RESIDENT_BYTES", 0)
    mapped = module.fit_linear(TRAIN, VAL, TEST)
    assert mapped.c == held.c
    assert torch.equal(mapped.logits, held.logits)


def test_a_tie_goes_to_the_stronger_regularisation() -> None:
    y = torch.arange(30) % 3
    easy = Features(torch.eye(3)[y], y)
    score, chosen = linear(easy, easy, easy, seed=0)
    assert (score.value, chosen.value) == (1, C_GRID[0])


def test_params_are_a_stable_key() -> None:
    other = linear(noisy(90, 5), noisy(90, 6), noisy(90, 7), seed=1)
    assert [json.dumps(s.params) for s in other] == [json.dumps(s.params) for s in linear(TRAIN, VAL, TEST, seed=0)]


def test_shift_and_scale_of_a_dimension_do_not_matter() -> None:
    scale, shift = 2.0 ** torch.arange(-5, 5), torch.arange(10.0)
    moved = [Features(split.x.double() * scale + shift, split.y) for split in (TRAIN, VAL, TEST)]
    assert [s.value for s in linear(*moved, seed=0)] == [s.value for s in linear(TRAIN, VAL, TEST, seed=0)]


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_constant_dimensions_change_nothing(value: float) -> None:
    wider = [Features(torch.cat([s.x, torch.full((len(s.x), 2), value)], 1), s.y) for s in (TRAIN, VAL, TEST)]
    assert [s.value for s in linear(*wider, seed=0)] == [s.value for s in linear(TRAIN, VAL, TEST, seed=0)]


def test_a_fit_that_did_not_converge_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ITERATIONS", 1)
    with pytest.warns(UserWarning, match=r"did not converge at C = .* within 1 iterations"):
        linear(TRAIN, VAL, TEST, seed=0)


def test_fit_returns_convergence_and_passes_other_warnings_on() -> None:
    class Loud(LogisticRegression):
        def fit(self, x: object, y: object) -> Loud:
            warnings.warn("something else", FutureWarning, stacklevel=2)
            return super().fit(x, y)

    x, y = TRAIN.x.numpy(), TRAIN.y.numpy()
    assert not fit(LogisticRegression(max_iter=1), x, y)
    with pytest.warns(FutureWarning, match="something else"):
        assert fit(Loud(max_iter=5000), x / abs(x).max(0), y)


def test_one_class_is_refused() -> None:
    one = Features(TRAIN.x, torch.zeros_like(TRAIN.y))
    with pytest.raises(ValueError, match="at least 2 classes"):
        linear(one, one, one, seed=0)


def test_all_strengths_at_once_are_the_same_fits() -> None:
    # What a CUDA device does, done here.
    train, val, test = (
        Features(split.x.double() / TRAIN.x.std(dim=0).double(), split.y) for split in (TRAIN, VAL, TEST)
    )
    together = module._together(train, val.x, test.x, "cpu")
    for ours, theirs in zip(together, module._in_turn(train, val.x, test.x), strict=True):
        assert ours.converged
        # Both stop at a gradient of 1e-6, so a sample on the border may fall to either side.
        assert (ours.val.argmax(dim=1) != theirs.val.argmax(dim=1)).sum() <= 1
        assert (ours.test.argmax(dim=1) != theirs.test.argmax(dim=1)).sum() <= 1
