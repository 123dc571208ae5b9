"""Features of several views of one image, drawn as in pretraining, and what is measured of them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dsabench import rng
from dsabench.config.eval_config import PIXELS, POSTHOC
from dsabench.data.loader import pretraining_batches
from dsabench.data.subset import subset
from dsabench.evaluation.preprocessing import of_crops, trained_on
from dsabench.evaluation.subject import Subject
from dsabench.metrics.lidar import lidar as lidar_of
from dsabench.types import Features, ProbeResult, Score

# Features of so many views at a time.
BATCH = 512


def lidar(
    train: Features, val: Features, test: Features, *, seed: int, subject: Subject, images: int = 1000, views: int = 50
) -> ProbeResult:
    """LiDAR of at most `images` of the images that are scored, of `views` views each: `dsabench.metrics.lidar`.

    Thilak et al. 2023, arXiv 2312.04000, with its numbers. The views are those that the encoder was trained on, where
    it is a run, half of them by each view's policy; else crops. Neither direction is better. No feature of a split
    is read. Raises ValueError as `dsabench.metrics.lidar.lidar` does, and for the pixels.
    Cost: O(N V D^2 + D^3) for V views of N images, and their features.
    """
    if subject.layer.name in (PIXELS, *POSTHOC):
        raise ValueError(f"views are shown to a model, and the layer {subject.layer} is none of its")
    found = viewed(subject, images, views, seed)
    params = {"images": len(found), "views": found.shape[1]}
    return ProbeResult([Score("lidar", lidar_of(found), params, None)])


def viewed(subject: Subject, images: int, views: int, seed: int) -> Tensor:
    """Features (N, Q, D) of Q `views`, an even number at least as large, of a fixed draw of N images."""
    _, _, scored = subject.images()
    order = torch.randperm(len(scored), generator=rng.generator("lidar", "images"))[:images].sort().values
    dataset = trained_on(subject.dataset, subject.preprocess, subset(scored, order))
    rows = []
    for part in torch.split(torch.arange(len(order)), BATCH):
        drawn = replace(dataset, train=subset(dataset.train, part))
        pairs = []
        for number in range((views + 1) // 2):
            subject.stop.check()
            (batch,) = pretraining_batches(
                drawn,
                subject.encoder.views or of_crops(dataset),
                batch_size=len(part),
                seed=rng.seed_of(seed, "lidar", int(part[0])),
                epoch=number,
                device=subject.device,
            )
            back = batch.index.argsort()
            for view in (batch.view1, batch.view2):
                pairs.append(subject.encoder.features(subject.layer.name, view[back], subject.device))
        rows.append(torch.stack(pairs, dim=1))
    return torch.cat(rows)
