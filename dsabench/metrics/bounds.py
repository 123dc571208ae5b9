"""Bounds that tie class geometry and the contrastive loss to the risk of the class means, term by term.

Functions of features `x` (N, D) as they are (`evaluation.theory` gives unit rows) and classes `y` (N,). Every
expectation is that of the empirical distribution in which all C classes weigh alike, with V-statistics where two
samples are drawn, so that a bound that is proven for every distribution holds for the very numbers that are returned,
but for the rounding of float64. Raise ValueError for fewer than two classes, or features that are not finite.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dsabench.metrics.distances import BLOCK_ROWS, pairwise

# E exp(u) <= 1 + c Var(u) for a centred u <= 2 (Bennett's inequality: (e^b - 1 - b) / b^2 at b = 2).
BENNETT = (math.e**2 - 3) / 4


class Bound(NamedTuple):
    """`lower` <= `risk` <= `upper`: the terms `within` and `between` that they are made of; `lower` may be -inf."""

    within: float
    between: float
    risk: float
    upper: float
    lower: float = -math.inf

    @property
    def slack(self) -> float:
        """By how much the upper bound is above the risk."""
        return self.upper - self.risk


class Geometry(NamedTuple):
    """Moments of C classes: `means` (C, D), `variances` (C,) as E ||x - mu_c||^2, squared distances `apart` (C, C),
    and `along` (C, C), the directional variance E ((x - mu_c) . (mu_c - mu_d))^2 / ||mu_c - mu_d||^4."""

    means: Tensor
    variances: Tensor
    apart: Tensor
    along: Tensor

    def off_diagonal(self, matrix: Tensor) -> Tensor:
        """The entries (C, C - 1) of pairs of distinct classes."""
        others = ~torch.eye(len(matrix), dtype=torch.bool)
        return matrix[others].view(len(matrix), -1)


def geometry(x: Tensor, y: Tensor) -> Geometry:
    """The moments of the classes of features; their numbers in the order of their labels."""
    members = _members(x, y)
    weights = members / members.sum(dim=0)
    means = weights.T @ x
    residuals = x - members @ means
    apart = pairwise(means, means).square()
    products = residuals @ means.T
    along = weights.T @ (products - (products * members).sum(dim=1, keepdim=True)).square() / apart.square()
    return Geometry(means, weights.T @ residuals.square().sum(dim=1), apart, along)


def centre_bound(x: Tensor, y: Tensor) -> Bound:
    """Nearest-centre error and CDNV: risk <= 4 (C - 1) avg_{c != d} V_cd.

    V_cd = (Var_c + Var_d) / (2 ||mu_c - mu_d||^2): Galanti et al. 2021, arXiv 2112.15121, for known class means. x of
    class c is nearer to mu_d only where ||x - mu_c|| >= ||mu_c - mu_d|| / 2, whose probability is at most
    4 Var_c / ||mu_c - mu_d||^2 (Markov); the sum over
    d bounds the error of c, and the mean over ordered pairs of Var_c / ||.||^2 is that of V_cd. Their constant, larger,
    also pays for means of few samples. Ties count as errors. `within` is the mean Var_c, `between` the mean squared
    distance of two means.
    """
    moments = geometry(x, y)
    found = moments.off_diagonal(4 * moments.variances[:, None] / moments.apart)
    return Bound(
        float(moments.variances.mean()),
        float(moments.off_diagonal(moments.apart).mean()),
        centre_error(x, y, moments.means),
        float(found.sum(dim=1).mean()),
    )


def directional_bound(x: Tensor, y: Tensor) -> Bound:
    """Nearest-centre error and directional CDNV v_cd: risk <= mean_c sum_{d != c} 4 v_cd / (1 + 4 v_cd).

    Ours, for known class means, in the spirit of arXiv 2603.03530, whose bounds lead with the same term and whose
    constants we do not restate. Proof: x of class
    c is no nearer to mu_c than to mu_d where (x - mu_c) . (mu_d - mu_c) >= ||mu_c - mu_d||^2 / 2. The left side has
    mean 0 and variance v_cd ||mu_c - mu_d||^4, so Cantelli's inequality gives v / (v + 1/4); the sum over d bounds the
    error of c. It is at most the bound of `centre_bound`. `within` is the mean variance along the line of two means.
    """
    moments = geometry(x, y)
    v = moments.off_diagonal(moments.along)
    return Bound(
        float(moments.off_diagonal(moments.along * moments.apart).mean()),
        float(moments.off_diagonal(moments.apart).mean()),
        centre_error(x, y, moments.means),
        float((4 * v / (1 + 4 * v)).sum(dim=1).mean()),
    )


def few_shot_bound(x: Tensor, y: Tensor, *, shots: int, draws: Tensor) -> Bound:
    """Error of the nearest mean of `shots` = n samples a class, and directional CDNV: ours, proven below.

    With e = x - mu_c, delta = mu_c - mu_d, and a, b the errors of the two means, the margin
    ||x - mean_d||^2 - ||x - mean_c||^2 = ||delta||^2 + 2 e.delta + 2 e.(a - b) - 2 b.delta - ||a||^2 + ||b||^2 has the
    mean m = ||delta||^2 + (Var_d - Var_c) / n. Of its terms only the last and the one in b.delta are correlated, so its
    variance is at most s = 4 v_cd ||delta||^4 + 4 tr(S_c (S_c + S_d)) / n + Var ||a||^2
    + (2 ||delta||^2 sqrt(v_dc / n) + std ||b||^2)^2, where S are covariances and Var ||a||^2 =
    Var ||e||^2 / n^3 + 2 (n - 1) tr(S_c^2) / n^3. Cantelli: it is <= 0 with probability s / (s + m^2) where m > 0,
    and at most 1 elsewhere. Summed over d != c, averaged over c; for n to infinity it is `directional_bound`.

    The risk is that of `draws` (R, C, n) int64, positions in `x` drawn with replacement in each class, over all `x`.
    """
    moments, members = geometry(x, y), _members(x, y)
    weights, n = members / members.sum(dim=0), float(shots)
    residuals = x - members @ moments.means
    lengths = residuals.square().sum(dim=1)
    products = torch.zeros_like(moments.apart)
    for start in range(0, len(x), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        products += weights[block].T @ (residuals[block] @ residuals.T).square() @ weights
    spread = weights.T @ lengths.square() - moments.variances.square()
    noise = spread.clamp(min=0) / n**3 + 2 * (n - 1) * products.diagonal() / n**3
    towards = 2 * moments.apart * (moments.along.T / n).sqrt() + noise.sqrt()
    s = (
        4 * moments.along * moments.apart.square()
        + 4 * (products.diagonal()[:, None] + products) / n
        + noise[:, None]
        + towards.square()
    )
    m = moments.apart + (moments.variances - moments.variances[:, None]) / n
    each = torch.where(m > 0, s / (s + m.square()), 1.0)
    risk = sum(centre_error(x, y, x[drawn].mean(dim=1)) for drawn in draws) / len(draws)
    return Bound(
        float(moments.off_diagonal(moments.along * moments.apart).mean()),
        float(moments.off_diagonal(moments.apart).mean()),
        float(risk),
        float(moments.off_diagonal(each).sum(dim=1).mean()),
    )


def contrastive_bound(x: Tensor, partner: Tensor, y: Tensor) -> Bound:
    """Cross-entropy of the mean classifier between bounds made of the contrastive loss and the conditional variance.

    Wang et al. 2022, arXiv 2203.13457, theorem 4.2, in the limit of infinitely many negatives, where its O(M^-1/2)
    vanishes and L_NCE - log M is A = -E f(x).f(x+) + E log E exp f(x).f(x-). `x` and `partner` (N, D) are unit rows of
    two views of each image, and a sample is either. With V = mean_c E ||f - mu_c||^2 over all of them,

        A + log C - sqrt(V) - c max_c V_c  <=  E -log softmax_k(f(x).mu_k)_y  <=  A + log C + sqrt(V).

    Above: Jensen moves the expectation over negatives of a class into the exponent, and Cauchy-Schwarz replaces x+ by
    its class mean for sqrt(V). Below: the ratio of both log-sums is a mean over classes, softly weighted, of
    E exp f(x).(f(x-) - mu_k) <= 1 + c Var, with Bennett's c = (e^2 - 3) / 4; the paper has V / 2 there, up to terms
    that it leaves open, and ours is proven for every distribution. `within` is sqrt(V), `between` is A + log C.
    """
    samples, other, labels = torch.cat([x, partner]), torch.cat([partner, x]), torch.cat([y, y])
    members = _members(samples, labels)
    weights = members / members.sum(dim=0)
    means = weights.T @ samples
    variances = weights.T @ (samples - members @ means).square().sum(dim=1)
    each = weights.sum(dim=1) / members.shape[1]
    log_weights, potential = each.log(), []
    for start in range(0, len(samples), BLOCK_ROWS):
        block = samples[start : start + BLOCK_ROWS]
        potential.append(torch.logsumexp(block @ samples.T + log_weights, dim=1))
    objective = float(each @ (torch.cat(potential) - (samples * other).sum(dim=1))) + math.log(members.shape[1])
    logits = samples @ means.T
    risk = float(each @ (torch.logsumexp(logits, dim=1) - (logits * members).sum(dim=1)))
    within = math.sqrt(float(variances.mean()))
    lower = objective - within - BENNETT * float(variances.max())
    return Bound(within, objective, risk, objective + within, lower)


def centre_error(x: Tensor, y: Tensor, centres: Tensor) -> float:
    """The share of samples no nearer to the centre (C, D) of their class than to another, every class alike."""
    members = _members(x, y)
    distances = pairwise(x, centres)
    own = (distances * members).sum(dim=1)
    wrong = (distances + torch.where(members > 0, torch.inf, 0.0)).min(dim=1).values <= own
    return float(((members / members.sum(dim=0)).T @ wrong.double()).mean())


def _members(x: Tensor, y: Tensor) -> Tensor:
    """Which class each sample is of, (N, C) float64 of zeros and ones."""
    if not bool(x.isfinite().all()):
        raise ValueError("features must be finite; some are NaN or infinite")
    classes, codes = torch.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"at least 2 classes are needed; got {len(classes)}")
    return one_hot(codes, len(classes)).double()
