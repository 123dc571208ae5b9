"""LiDAR: how many dimensions tell images apart, by a linear discriminant between images with their views as samples."""

from __future__ import annotations

import torch
from torch import Tensor

# Of the paper: what keeps the scatter within images invertible, and the shares from being zero.
RIDGE, FLOOR = 1e-4, 1e-7


def lidar(views: Tensor) -> float:
    """Exponential of the entropy of the eigenvalues of S_w^-1/2 S_b S_w^-1/2, of features of views (N, Q, D).

    With mu_i the mean of the Q views of image i and mu that of all, S_b = sum_i (mu_i - mu)(mu_i - mu)^T / N and
    S_w = sum_ij (x_ij - mu_i)(x_ij - mu_i)^T / (N Q) + 1e-4 I; the shares are lambda_j / sum lambda + 1e-7:
    Thilak et al. 2023, arXiv 2312.04000, equations 1 to 3. About 1 to D, low under collapse, and neither direction is
    better between methods; on raw features, whose scale weighs against 1e-4. O(N Q D^2). Raises ValueError for features
    that are not finite, fewer than two images or views, and where all images are alike.
    """
    if views.ndim != 3 or min(views.shape[:2]) < 2:
        raise ValueError(f"LiDAR needs 2 images and 2 views of each at least; got features {tuple(views.shape)}")
    x = views.double()
    if not bool(x.isfinite().all()):
        raise ValueError("features must be finite; some are NaN or infinite")
    means = x.mean(dim=1)
    inner = (x - means[:, None]).flatten(0, 1)
    outer = means - means.mean(dim=0)
    within = inner.T @ inner / len(inner) + RIDGE * torch.eye(x.shape[2], dtype=x.dtype)
    # With S_w = L L^T the eigenvalues are those of L^-1 S_b L^-T, the squared singular values of L^-1 outer^T.
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(within), outer.T, upper=False)
    eigenvalues = torch.linalg.svdvals(whitened).square()
    if float(eigenvalues.sum()) == 0:
        raise ValueError("LiDAR is not defined where all images have the same features")
    padding = x.shape[2] - len(eigenvalues)
    shares = torch.cat([eigenvalues / eigenvalues.sum(), eigenvalues.new_zeros(max(0, padding))]) + FLOOR
    return float(torch.exp(-(shares * shares.log()).sum()))
