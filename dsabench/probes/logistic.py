"""Many small logistic regressions at once: L-BFGS in float64, one step of all of them a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

HISTORY = 10
MAX_ITERATIONS, MAX_HALVINGS = 2000, 40
# Armijo's condition: the share of the promised decrease that a step must bring.
SUFFICIENT = 1e-4


def fit_batched(x: Tensor, y: Tensor, strength: float | Sequence[float], *, tol: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Weights (S, D + 1, C) of S multinomial logistic regressions, the intercepts last, and which converged (S,).

    Takes samples (S, N, D) float64 and classes (S, N) 0..C-1, on any device, and a strength for all or one for each;
    one set of samples, (1, N, D), serves all of S strengths. Each minimises what scikit-learn does with C = `strength`:
    strength times the summed cross-entropy plus half the squared weights, intercepts free, until no entry of the mean's
    gradient exceeds `tol`. Two classes count half, for scikit-learn has one weight vector for both.
    """
    problem = _Problem(x, y, strength)
    w = x.new_zeros(max(len(x), len(problem.penalty)), x.shape[2] + 1, problem.targets.shape[2])
    loss, gradient = problem(w)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(MAX_ITERATIONS):
        going = gradient.abs().amax(dim=(1, 2), keepdim=True) > tol
        if not going.any():
            break
        step = -_direction(gradient, pairs) * going
        slope = SUFFICIENT * _dot(gradient, step).flatten()
        length = torch.ones_like(loss)
        for _ in range(MAX_HALVINGS):
            moved = length[:, None, None] * step
            new_loss, new_gradient = problem(w + moved)
            # Near the optimum the decrease is smaller than a loss is rounded to.
            short = new_loss <= loss + length * slope + 1e-14 * loss.abs()
            if short.all():
                break
            length = torch.where(short, length, length / 2)
        change = new_gradient - gradient
        curvature = _dot(moved, change)
        pairs = [*pairs, (moved, change, torch.where(curvature > 0, 1 / curvature, 0.0))][-HISTORY:]
        w, loss, gradient = w + moved, new_loss, new_gradient
    return w, gradient.abs().amax(dim=(1, 2)) <= tol


def problem_bytes(n: int, dim: int, classes: int) -> int:
    """About the memory that one of the regressions takes: its samples, its scores, its history."""
    return 8 * (n * (dim + 4 * classes) + (2 * HISTORY + 8) * (dim + 1) * classes)


def logits(weights: Tensor, x: Tensor) -> Tensor:
    """The scores (M, C) of queries (M, D) by one regression (D + 1, C)."""
    return torch.addmm(weights[-1], x, weights[:-1])


def predict(weights: Tensor, x: Tensor) -> Tensor:
    """The classes (S, M) of queries (M, D) by each of S regressions."""
    return torch.stack([logits(w, x).argmax(dim=1) for w in weights])


class _Problem:
    """Mean loss (S,) and its gradient (S, D + 1, C) at weights (S, D + 1, C)."""

    def __init__(self, x: Tensor, y: Tensor, strength: float | Sequence[float]) -> None:
        classes = int(y.max()) + 1
        self.x = torch.cat([x, x.new_ones(*x.shape[:2], 1)], dim=2)
        self.targets = one_hot(y, classes).to(x.dtype)
        strengths = x.new_tensor(strength).reshape(-1, 1, 1)
        penalty = (2.0 if classes == 2 else 1.0) / (strengths * x.shape[1])
        self.penalty = penalty.repeat(1, x.shape[2] + 1, 1)
        self.penalty[:, -1] = 0

    def __call__(self, w: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.x @ w
        total = scores.logsumexp(dim=2)
        shrunk = self.penalty * w
        loss = (total - (scores * self.targets).sum(dim=2)).mean(dim=1) + (shrunk * w).sum(dim=(1, 2)) / 2
        residual = (scores - total[..., None]).exp_().sub_(self.targets)
        return loss, self.x.mT @ residual / self.x.shape[1] + shrunk


def _direction(gradient: Tensor, pairs: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The inverse Hessian as L-BFGS knows it, times the gradient: Nocedal and Wright 2006, algorithm 7.4."""
    if not pairs:
        return gradient / _dot(gradient, gradient).sqrt().clamp(min=1.0)
    direction, shares = gradient.clone(), []
    for moved, change, inverse in reversed(pairs):
        shares.append(inverse * _dot(moved, direction))
        direction -= shares[-1] * change
    moved, change, _ = pairs[-1]
    squared = _dot(change, change)
    direction *= torch.where(squared > 0, _dot(moved, change) / squared, 1.0)
    for (moved, change, inverse), share in zip(pairs, reversed(shares), strict=True):
        direction += moved * (share - inverse * _dot(change, direction))
    return direction


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products (S, 1, 1) of (S, D, C)."""
    return (a * b).sum(dim=(1, 2), keepdim=True)
