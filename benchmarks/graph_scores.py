"""Do scores read off the graph of nearest neighbours find the images that were replaced? Their AUROC, run by run.

    python -m benchmarks.graph_scores RUNS [FILE.csv]

For every finished run of a store whose training images were contaminated: the features of its frozen backbone of all
training images, un-augmented and centred; k read off them, as the smallest size with half of the largest excess
transitivity; and the chance that a replaced image has a lower score than one that stayed, ties counting half. DSA's
own score at its defaults stands beside them, among all images and in batches of the run's size, as training sees it.
0.5 is chance, 1 finds all of them. What was replaced is read for this alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

import dsabench
from benchmarks.neighbour_graph import dsa_scores, scores
from dsabench import rng
from dsabench.data import Datasets
from dsabench.data.loader import image_batches
from dsabench.evaluation.outside import auroc
from dsabench.files import write_atomic
from dsabench.regularizers.dsa.neighbourhoods import nearest
from dsabench.regularizers.dsa.transitivity import centred, excess_transitivity
from dsabench.tables.rows import csv_text
from dsabench.training.run import Run
from dsabench.training.store import Store


class Found(NamedTuple):
    """How well one score finds the replaced images of one run.

    `together` is the share of the k nearest of a replaced image that were replaced too.
    """

    run_id: str
    spec: str
    seed: int
    trained_on: str
    k: int
    together: float
    score: str
    auroc: float


def measure(run: Run, datasets: Datasets) -> Iterator[Found]:
    """Every score of a finished run; raises ValueError where nothing was replaced."""
    dataset = datasets.load(run.config.data)
    if dataset.contaminated is None:
        raise ValueError(f"{run.config.label} was trained on images of which none was replaced")
    images, replaced = dataset.contaminated
    backbone = dsabench.load_backbone(run.folder)
    with torch.no_grad():
        batches = image_batches(images, dataset.mean, dataset.std, batch_size=512, device="cpu")
        features = torch.cat([normalize(backbone(batch), dim=1) for batch in batches])
    unit = centred(features)
    k = round(excess_transitivity(unit, part=0.5).share * len(unit))
    together = float(replaced[nearest(unit, k)[:, 1:]][replaced].float().mean())
    found = {**scores(unit, k), "dsa": dsa_scores(unit), "dsa_in_batches": in_batches(features, run.config.batch_size)}
    one = run.config
    for name, value in found.items():
        share = auroc(-value[replaced], -value[~replaced])
        yield Found(one.run_id, str(one.spec), one.seed, one.data.trained_on, k, together, name, share)


def in_batches(features: Tensor, size: int) -> Tensor:
    """DSA's scores (N,) of images that see none but those of their batch, batches being as near to `size` as can be."""
    order = torch.randperm(len(features), generator=rng.generator("graph scores", "batches"))
    found = torch.empty(len(features))
    for batch in order.tensor_split(max(1, round(len(features) / size))):
        found[batch] = dsa_scores(centred(features[batch]))
    return found


def main() -> None:
    """Measure every run and print a line for each."""
    torch.set_num_threads(1)
    datasets = Datasets()
    found: list[Found] = []
    for run in Store(Path(sys.argv[1] if len(sys.argv) > 1 else "runs")).runs():
        if run.state["status"] == "finished" and run.config.data.contaminate:
            of_run = list(measure(run, datasets))
            said = " ".join(f"{one.score} {one.auroc:.3f}" for one in of_run)
            print(run.config.label, run.config.data.trained_on, said, flush=True)
            found += of_run
    found.sort(key=lambda one: (one.trained_on, one.spec, one.seed))
    if len(sys.argv) > 2:
        write_atomic(Path(sys.argv[2]), csv_text(Found._fields, found))


if __name__ == "__main__":
    main()
