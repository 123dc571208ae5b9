"""LiDAR against a literal reading of its paper, and what it says of features whose dimension is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from dsabench.metrics.lidar import lidar


def literal(views: torch.Tensor) -> float:
    """Equations 1 to 3 of arXiv 2312.04000, sums written out."""
    x = views.double().numpy()
    n, q, d = x.shape
    mean, within, between = x.reshape(-1, d).mean(axis=0), np.zeros((d, d)), np.zeros((d, d))
    for image in x:
        own = image.mean(axis=0)
        between += np.outer(own - mean, own - mean) / n
        for view in image:
            within += np.outer(view - own, view - own) / (n * q)
    within += 1e-4 * np.eye(d)
    root = np.linalg.inv(scipy.linalg.sqrtm(within).real)
    eigenvalues = np.clip(np.linalg.eigvalsh(root @ between @ root), 0, None)
    shares = eigenvalues / eigenvalues.sum() + 1e-7
    return float(np.exp(-(shares * np.log(shares)).sum()))


@pytest.mark.parametrize(("n", "q", "d"), [(40, 6, 5), (6, 3, 12), (2, 2, 3), (300, 2, 20)])
def test_it_is_what_the_paper_says(n: int, q: int, d: int) -> None:
    draw = torch.Generator().manual_seed(n)
    views = torch.randn(n, 1, d, generator=draw) + 0.3 * torch.randn(n, q, d, generator=draw)
    assert lidar(views) == pytest.approx(literal(views), rel=1e-5)
    turn = torch.linalg.qr(torch.randn(d, d, generator=draw).double()).Q
    assert lidar(views.double() @ turn + 3) == pytest.approx(lidar(views), rel=1e-5)


def test_it_counts_the_dimensions_that_tell_images_apart() -> None:
    draw = torch.Generator().manual_seed(0)
    apart = torch.zeros(2000, 1, 12)
    apart[..., :4] = torch.randn(2000, 1, 4, generator=draw)
    assert lidar(apart + 0.05 * torch.randn(2000, 8, 12, generator=draw)) == pytest.approx(4, abs=0.1)
    one = torch.zeros(50, 1, 12)
    one[:, 0, 0] = torch.arange(50.0)
    assert lidar(one.expand(-1, 3, -1)) == pytest.approx(1, abs=1e-3)


def test_what_it_is_not_defined_for_is_refused() -> None:
    with pytest.raises(ValueError, match="2 images and 2 views"):
        lidar(torch.ones(5, 1, 3))
    with pytest.raises(ValueError, match="same features"):
        lidar(torch.ones(5, 2, 3))
    with pytest.raises(ValueError, match="finite"):
        lidar(torch.full((5, 2, 3), math.nan))
