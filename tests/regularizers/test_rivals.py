"""The regularizers that share nothing with DSA, against their papers' formulas."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from dsabench.regularizers.base import Regularizer
from dsabench.regularizers.koleo import KoLeo
from dsabench.regularizers.sigreg import SIGReg
from dsabench.regularizers.visreg import VISReg
from dsabench.types import MethodOutput, Views

N, P, SLICES = 12, 5, 7
EVERY = [KoLeo, SIGReg, VISReg]


def output_of(scale: float = 1.0, shift: float = 0.0) -> MethodOutput:
    draw = torch.Generator().manual_seed(0)
    z1, z2 = (shift + scale * torch.randn(2, N, P, generator=draw)).unbind()
    z1, z2 = z1.requires_grad_(), z2.requires_grad_()
    return MethodOutput(z1.sum() + z2.sum(), z1, z2, z1, z2)


def make(kind: Any, **options: Any) -> Any:
    if kind is not KoLeo:
        options = {"slices": SLICES, **options}
    return kind(nn.Identity(), P, P, **options)


def term_of(regularizer: Regularizer, output: MethodOutput, seed: int = 3) -> Tensor:
    torch.manual_seed(seed)
    images = torch.zeros(N, 1, 2, 2)
    (term,) = regularizer(output, Views(images, images, images, torch.arange(N)), 0.5).values()
    return term


def directions(seed: int = 3) -> Tensor:
    """The directions that a loss draws after this seed, (P, SLICES)."""
    torch.manual_seed(seed)
    drawn = torch.randn(P, SLICES).double()
    return drawn / drawn.norm(dim=0)


def koleo(z: Tensor) -> Tensor:
    """-1/n sum_i log min_j ||x_i - x_j|| of unit rows (1806.03198, eq. 2)."""
    x = z / z.norm(dim=1, keepdim=True)
    distances = [torch.stack([(x[i] - x[j]).norm() for j in range(N) if j != i]) for i in range(N)]
    return -torch.stack([of_one.min().log() for of_one in distances]).mean()


def sigreg(z: Tensor) -> Tensor:
    """The mean over directions of N times the integral of |ecf(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) over [-3, 3], by
    trapezia of width 3/16 (2511.08544, section 4.2)."""
    statistics = []
    for x in (z @ directions()).T:
        values = []
        for t in (3 * k / 16 for k in range(-16, 17)):
            normal = math.exp(-t * t / 2)
            values.append(((torch.cos(t * x).mean() - normal) ** 2 + torch.sin(t * x).mean() ** 2) * normal)
        statistics.append(N * sum((a + b) / 2 * 3 / 16 for a, b in pairwise(values)))
    return torch.stack(statistics).mean()


def visreg(z: Tensor) -> Tensor:
    """Centre (2606.02572, eq. 6), scale (eq. 1) and shape (eq. 2 to 5), the scale without a gradient in the shape."""
    mean, std = z.mean(0), (z - z.mean(0)).square().mean(0).sqrt()
    standard = (z - mean) / (std.detach() + 1e-4)
    quantiles = torch.from_numpy(norm.ppf([i / (N + 1) for i in range(1, N + 1)]))
    shape = torch.stack([(x.sort().values - quantiles).square().mean() for x in (standard @ directions()).T]).mean()
    return mean.square().mean() + (1 - std).square().mean() + shape


@pytest.mark.parametrize(("kind", "formula"), [(KoLeo, koleo), (SIGReg, sigreg), (VISReg, visreg)])
def test_term_and_gradient_are_those_of_the_paper(kind: Any, formula: Any) -> None:
    output = output_of(scale=1.5, shift=0.3)
    term = term_of(make(kind, weight=0.7), output)
    z1, z2 = (z.detach().double().requires_grad_() for z in (output.z1, output.z2))
    expected = 0.7 * (formula(z1) + formula(z2)) / 2
    # The regularizers compute in float32.
    torch.testing.assert_close(term.double(), expected, rtol=1e-5, atol=1e-6)
    found = torch.autograd.grad(term, [output.z1, output.z2])
    for ours, theirs in zip(found, torch.autograd.grad(expected, [z1, z2]), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", EVERY)
def test_at_weight_0_nothing_reaches_the_student(kind: Any) -> None:
    term = term_of(make(kind, weight=0.0), output_of())
    assert float(term) == 0.0
    assert not term.requires_grad


@pytest.mark.parametrize("kind", EVERY)
def test_collapsed_embeddings_have_a_finite_gradient(kind: Any) -> None:
    z = torch.ones(N, P, requires_grad=True)
    term = term_of(make(kind), MethodOutput(z.sum(), z, z, z, z))
    assert term.isfinite()
    assert torch.autograd.grad(term, z)[0].isfinite().all()


@pytest.mark.parametrize("kind", [SIGReg, VISReg])
def test_a_standard_normal_is_better_than_what_is_narrower_wider_or_elsewhere(kind: Any) -> None:
    regularizer = make(kind, slices=200)
    best = float(term_of(regularizer, output_of()).detach())
    for other in ({"scale": 0.1}, {"scale": 4.0}, {"shift": 3.0}):
        assert float(term_of(regularizer, output_of(**other)).detach()) > best


@pytest.mark.parametrize("kind", [SIGReg, VISReg])
def test_the_directions_are_drawn_anew_at_every_step(kind: Any) -> None:
    regularizer, output = make(kind), output_of()
    values = [float(term_of(regularizer, output, seed).detach()) for seed in (1, 2, 1)]
    assert values[0] == values[2] != values[1]


@pytest.mark.parametrize("kind", EVERY)
def test_a_weight_cannot_be_negative(kind: Any) -> None:
    with pytest.raises(ValueError, match="weight must be >= 0"):
        make(kind, weight=-1.0)


@pytest.mark.parametrize("kind", [SIGReg, VISReg])
def test_without_directions_there_is_no_loss(kind: Any) -> None:
    with pytest.raises(ValueError, match="slices must be >= 1"):
        make(kind, slices=0)
