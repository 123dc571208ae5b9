"""DSA added to a plain PyTorch SimCLR loop on scikit-learn's digits: the lines that are for it are marked.

    $ python -m benchmarks.examples.dsa_in_a_loop --steps 300

takes about 40 seconds of one core and ends with the CDNV of the features: lower is less crowded.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from dsabench import DSA, MethodOutput, Views, build_backbone, cdnv


def augment(images: Tensor) -> Tensor:
    """Views of images (B, C, H, W): each turned, scaled and shifted at random, and noise."""
    turn, size, right, down = torch.randn(4, len(images))
    angle, scale = 0.25 * turn, 1.0 + 0.1 * size
    cos, sin = scale * angle.cos(), scale * angle.sin()
    affine = torch.stack([cos, -sin, 0.2 * right, sin, cos, 0.2 * down], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False) + 0.1 * torch.randn_like(images)


def main(arguments: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Train; returns the loss and its terms at every step, and prints some of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="optimiser steps of 256 images (default 300)")
    steps = parser.parse_args(arguments).steps

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images[:, None] / 16.0, dtype=torch.float32)
    backbone = build_backbone("resnet8", channels=1, image_size=8)
    projector = SimCLRProjectionHead(backbone.feature_dim, 128, 64)
    simclr = NTXentLoss(temperature=0.5)
    dsa = DSA(backbone, backbone.feature_dim, embedding_dim=64, num_images=len(images))  # DSA
    optimizer = torch.optim.AdamW(nn.ModuleList([backbone, projector]).parameters(), lr=2e-3)

    history = []
    for step in range(steps):
        index = torch.randperm(len(images))[:256]
        anchor = images[index]
        view1, view2 = augment(anchor), augment(anchor)
        h1, h2 = backbone(view1), backbone(view2)
        z1, z2 = projector(h1), projector(h2)
        loss = simclr(z1, z2)
        terms = dsa(MethodOutput(loss, h1, h2, z1, z2), Views(anchor, view1, view2, index), step / steps)  # DSA
        total = loss + sum(terms.values())  # DSA
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append({name: value.item() for name, value in {"loss": total, "ssl": loss, **terms}.items()})
        if step % 20 == 0 or step == steps - 1:
            print(f"step {step}:", ", ".join(f"{name} {value:.3f}" for name, value in history[-1].items()))

    with torch.no_grad():
        features = backbone.eval()(images)
    crowding = [cdnv(x, digits.target) for x in (features, images.flatten(1))]
    print("CDNV of the features {:.3f}, of the pixels {:.3f}".format(*crowding))
    return history


if __name__ == "__main__":
    main()
