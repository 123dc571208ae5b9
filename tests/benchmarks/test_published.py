"""The published loops that benchmarks measure against compute what the reference regularizer computes."""

import pytest
import torch
from torch import nn

from benchmarks.speed import published
from dsabench.regularizers.dsa.reference import ReferenceDSA
from dsabench.types import MethodOutput, Views

IMAGES, FEATURES, EMBEDDING = 13, 7, 5


def test_the_loops_are_the_reference_as_found():
    torch.manual_seed(0)
    encoder = nn.Linear(4, FEATURES)
    reference = ReferenceDSA(encoder, FEATURES, EMBEDDING, reference_faults=True, eta=3, lambda1=1.0, lambda2=0.01)
    anchor, view1, view2 = (torch.randn(IMAGES, 4) for _ in range(3))
    mine, theirs = (
        [
            z.clone().requires_grad_()
            for z in torch.randn(2, IMAGES, EMBEDDING, generator=torch.Generator().manual_seed(1))
        ]
        for _ in range(2)
    )
    zero = torch.zeros(())
    views = Views(anchor, view1, view2, torch.arange(IMAGES))
    total = torch.stack(list(reference(MethodOutput(zero, zero, zero, *mine), views, 1.0).values())).sum()
    features = [encoder(images).detach() for images in (anchor, view1, view2)]
    expected = published.terms(tuple(theirs), features[0], tuple(features[1:]), reference.pair_network, eta=3)
    assert float(total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for ours, wanted in zip(torch.autograd.grad(total, mine), torch.autograd.grad(expected, theirs), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-5)
