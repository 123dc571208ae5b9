"""What could tell, without labels, whether images share a class: views, transitivity, communities beside the truth.

    python -m benchmarks.trust [--output FILE.csv] RUN ...

For each run, on 1,000 of its training images: the share of the 8 nearest neighbours that share the class (labels are
read for this alone); the share of its 8 nearest that two views of an image agree on; how much more neighbourhoods
hang together than those of features without clusters, at which size, as `regularizers.dsa.transitivity` has it; whether
images, and classes on average, whose own neighbourhoods hang together more have more neighbours of their class, as
Spearman's correlation; and the communities of the graph of mutual neighbours; both at k, the smallest size with half of
the largest excess.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import normalize

import dsabench
from benchmarks.neighbour_graph import Communities, communities
from dsabench.cli.output import console
from dsabench.data import load_dataset
from dsabench.data.loader import pretraining_batches
from dsabench.data.subset import subset
from dsabench.files import write_atomic
from dsabench.regularizers.dsa.neighbourhoods import nearest
from dsabench.regularizers.dsa.transitivity import centred, excess_transitivity, local_transitivity
from dsabench.report.table import Arm, Cell, Column, Number, Section, Table
from dsabench.report.terminal import draw
from dsabench.tables.rows import csv_text
from dsabench.training.run import Run

IMAGES, K = 1000, 8
COLUMNS = (
    Column("spec", "name"),
    Column("data", "text"),
    Column("same class", "number", "%", True),
    Column("views agree", "number", "%"),
    Column("excess", "number"),
    Column("at a share of", "number", "%"),
    Column("of images", "number"),
    Column("of classes", "number"),
    Column("communities", "count"),
    Column("same class in them", "number", "%", True),
)


class Trust(NamedTuple):
    """What was found of a run, `images` those that it was trained on, and of the communities at k."""

    run_id: str
    spec: str
    seed: int
    epochs: int
    dataset: str
    images: int
    image_size: int
    same_class: float
    agreement: float
    excess: float
    share: float
    of_images: float
    of_classes: float
    k: int
    graph: Communities


def measure(folder: Path) -> Trust:
    """Look at the training images of a finished run."""
    run = Run.load(folder)
    dataset = load_dataset(run.config.data)
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(0))[:IMAGES]
    drawn = replace(dataset, train=subset(dataset.train, order))
    backbone = dsabench.load_backbone(folder)
    (batch,) = pretraining_batches(
        drawn, run.config.resolved.views, batch_size=len(order), seed=0, epoch=0, device="cpu"
    )
    with torch.no_grad():
        view1, view2 = (centred(normalize(backbone(images), dim=1)) for images in (batch.view1, batch.view2))
    both = normalize(view1 + view2, dim=1)
    labels = drawn.train.labels[batch.index]
    same = (labels[nearest(both, K)[:, 1:]] == labels[:, None]).float().mean(dim=1)
    agreed = (across(view1, both)[:, :, None] == across(view2, both)[:, None]).any(dim=2).float().mean()
    coarsest = excess_transitivity(both)
    k = round(excess_transitivity(both, part=0.5).share * len(both))
    own = local_transitivity(both, torch.arange(len(both)), k)
    of_images, of_classes = rank_correlations(own, same, labels)
    config, size = run.config, dataset.image_size
    who = (config.run_id, str(config.spec), config.seed, config.epochs, config.data.label, len(dataset.train), size)
    return Trust(
        *who,
        same_class=float(same.mean()),
        agreement=float(agreed),
        excess=coarsest.excess,
        share=coarsest.share,
        of_images=of_images,
        of_classes=of_classes,
        k=k,
        graph=communities(both, k, labels),
    )


def rank_correlations(own: Tensor, same: Tensor, labels: Tensor) -> tuple[float, float]:
    """Spearman's correlation of two values of each image, (N,) each, over the images and over the means of classes."""
    means = [[float(values[labels == label].mean()) for label in sorted({*labels.tolist()})] for values in (own, same)]
    return float(spearmanr(own, same).statistic), float(spearmanr(*means).statistic)


def written(found: Sequence[Trust]) -> str:
    """The runs as CSV, what their communities are in columns of its own."""
    return csv_text((*Trust._fields[:-1], *Communities._fields), [(*one[:-1], *one.graph) for one in found])


def across(own: Tensor, others: Tensor) -> Tensor:
    """The places (N, K) of the nearest of `others`, whose rows are the same images as those of `own`."""
    return (own @ others.T).fill_diagonal_(-torch.inf).topk(K, dim=1).indices


def table_of(found: Sequence[Trust]) -> Table:
    """A line for each run."""
    lines: list[tuple[Cell, ...]] = []
    for one in sorted(found, key=lambda one: -one.excess):
        numbers = (Number(one.same_class, "%"), Number(one.agreement, "%"), Number(one.excess), Number(one.share, "%"))
        in_them = Number(one.graph.community_same_class, "%")
        own = Number(one.of_images), Number(one.of_classes)
        lines.append((Arm(one.spec), one.dataset, *numbers, *own, one.graph.communities, in_them))
    return Table("neighbours, and what tells of them without labels", COLUMNS, (Section(tuple(lines)),))


def main() -> None:
    """Measure every run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = [measure(folder) for folder in options.runs]
    draw(console(), table_of(found))
    if options.output:
        write_atomic(options.output, written(found))


if __name__ == "__main__":
    main()
