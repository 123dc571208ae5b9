"""Batched logistic regressions against scikit-learn's, one by one."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

import dsabench.probes.logistic as module
from dsabench.probes.logistic import fit_batched, predict


def problems(classes: int, count: int = 4, n: int = 60, dim: int = 6) -> tuple[Tensor, Tensor]:
    """Samples (S, N, D) of unlike scales, some of the problems easy and some hard, and classes (S, N)."""
    draw = torch.Generator().manual_seed(classes)
    y = torch.stack([torch.randperm(n, generator=draw) % classes for _ in range(count)])
    noise = torch.randn(count, n, dim, generator=draw, dtype=torch.float64)
    apart = torch.logspace(-1, 1, count, dtype=torch.float64)[:, None, None]
    return apart * torch.eye(classes, dim, dtype=torch.float64)[y] + noise * torch.logspace(-1, 0.5, dim), y


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("strength", [1e-2, 1.0, 100.0])
def test_each_is_scikit_learns(classes: int, strength: float) -> None:
    x, y = problems(classes)
    weights, converged = fit_batched(x, y, strength, tol=1e-9)
    assert converged.all()
    for i in range(len(x)):
        model = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(x[i], y[i])
        scores = torch.from_numpy(model.decision_function(x[i]))
        found = x[i] @ weights[i, :-1] + weights[i, -1]
        # Scores are known up to what all classes share; of two classes scikit-learn gives the difference.
        found = found[:, 1] - found[:, 0] if classes == 2 else found - found.mean(dim=1, keepdim=True)
        scores = scores if classes == 2 else scores - scores.mean(dim=1, keepdim=True)
        torch.testing.assert_close(found, scores, rtol=1e-4, atol=1e-4)
        assert torch.equal(predict(weights, x[i])[i], torch.from_numpy(model.predict(x[i])))


@pytest.mark.parametrize("classes", [2, 4])
def test_the_gradient_is_the_losss(classes: int) -> None:
    x, y = problems(classes)
    draw = torch.Generator().manual_seed(0)
    w = torch.randn(4, 7, classes, generator=draw, dtype=torch.float64, requires_grad=True)
    loss, gradient = module._Problem(x, y, 0.3)(w)
    expected = torch.nn.functional.cross_entropy(
        (x @ w[:, :-1] + w[:, -1:]).flatten(0, 1), y.flatten(), reduction="none"
    )
    penalty = (2 if classes == 2 else 1) * w[:, :-1].square().sum(dim=(1, 2)) / 2 / (0.3 * 60)
    torch.testing.assert_close(loss, expected.view(4, 60).mean(dim=1) + penalty)
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), w)[0], gradient)


def test_neighbours_in_a_batch_do_not_matter() -> None:
    x, y = problems(3)
    together, _ = fit_batched(x, y, 1.0, tol=1e-9)
    for i in range(len(x)):
        alone, _ = fit_batched(x[i : i + 1], y[i : i + 1], 1.0, tol=1e-9)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-6)


def test_too_few_iterations_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ITERATIONS", 2)
    _, converged = fit_batched(*problems(3), 1.0)
    assert not converged.any()


def test_one_set_of_samples_serves_many_strengths() -> None:
    x, y = problems(3, count=1)
    strengths = (1e-3, 0.1, 10.0)
    together, converged = fit_batched(x, y, strengths, tol=1e-9)
    assert converged.tolist() == [True] * 3
    for i, strength in enumerate(strengths):
        alone, _ = fit_batched(x, y, strength, tol=1e-9)
        torch.testing.assert_close(together[i], alone[0], rtol=1e-5, atol=1e-6)
