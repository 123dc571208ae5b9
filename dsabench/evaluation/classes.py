"""One layer of an evaluation class by class and image by image: who crowds whom, and which images lie worst."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dsabench.config.spec import Part
from dsabench.data.dataset import Dataset, Split
from dsabench.evaluation.evaluate import LayerEvaluation
from dsabench.evaluation.features import FeatureStore
from dsabench.evaluation.words import resolved
from dsabench.files import write_atomic
from dsabench.metrics.crowding import pairwise_cdnv
from dsabench.metrics.placement import class_values, confusion, places
from dsabench.tables.rows import csv_text

# What says where a line is from, as in the tidy table.
ORIGIN = ("run_id", "method", "regularizer", "seed", "dataset", "split", "layer")


@dataclass(frozen=True)
class PlacedImage:
    """An image, its class, that of the nearest other class mean, kNN's answer, its distance to either mean."""

    image: str
    label: str
    nearest: str
    answered: str
    own_distance: float
    other_distance: float


@dataclass(frozen=True)
class ByClass:
    """The `classes` (C,) that the split has images of, with their `counts` (C,) and `values` (C,) by metric.

    `crowding` (C, C) is the CDNV of each two classes, its diagonal nan; `confusion` (C, C) the share of a class (rows)
    that kNN answers as each of them (columns). `worst` are images by how much nearer they lie to the mean of another
    class than to that of their own, worst first. `origin` holds the columns `ORIGIN`.
    """

    origin: tuple[object, ...]
    classes: tuple[str, ...]
    counts: Tensor
    values: dict[str, Tensor]
    crowding: Tensor
    confusion: Tensor
    worst: tuple[PlacedImage, ...]


def by_class(layer: LayerEvaluation, *, worst: int = 50) -> ByClass:
    """What the features and the stored answers of kNN say of each class, and of the `worst` placed images.

    Raises ValueError where the metrics are not defined for the features.
    """
    evaluation, samples, y = layer.evaluation, layer.inputs.samples, layer.inputs.test.y
    split, names = evaluation.config.split, class_names(layer)
    predicted = torch.from_numpy(layer.answers(resolved(Part("knn"))).predicted[0])
    present = torch.unique(y)
    shares = confusion(y, predicted, len(names))[present][:, present]
    about = evaluation.encoder.provenance
    return ByClass(
        origin=(*(about[name] for name in ORIGIN[:4]), evaluation.title, split, str(layer.layer)),
        classes=tuple(names[label] for label in present.tolist()),
        counts=samples.moments.counts.long(),
        values={**class_values(samples), "accuracy": shares.diagonal().clone()},
        crowding=pairwise_cdnv(samples).fill_diagonal_(torch.nan),
        confusion=shares,
        worst=tuple(_worst(layer, present, predicted[0], worst)),
    )


def pictured(layer: LayerEvaluation) -> Dataset:
    """The data set with the images of a layer; raises ValueError for embeddings, which have none."""
    if layer.evaluation.dataset is None:
        raise ValueError(f"{layer.evaluation.encoder.name} is embeddings, whose images are not at hand")
    return layer.evaluation.dataset


def _worst(layer: LayerEvaluation, present: Tensor, predicted: Tensor, count: int) -> Iterator[PlacedImage]:
    names, paths = class_names(layer), image_paths(layer)
    found = places(layer.inputs.samples)
    # Where all means coincide there is no place, and nothing to rank.
    ranked = found.ratio.nan_to_num(nan=-torch.inf).argsort(descending=True, stable=True)
    for i in ranked[:count].tolist():
        yield PlacedImage(
            image=paths[i] if paths else str(i),
            label=names[int(layer.inputs.test.y[i])],
            nearest=names[int(present[found.nearest[i]])],
            answered=names[int(predicted[i])],
            own_distance=float(found.own[i]),
            other_distance=float(found.other[i]),
        )


def class_names(layer: LayerEvaluation) -> tuple[str, ...]:
    """The names of the classes, of the data set or of the embeddings."""
    store = layer.evaluation.store
    return store.dataset.classes if isinstance(store, FeatureStore) else store.embeddings.classes


def image_paths(layer: LayerEvaluation) -> tuple[str, ...]:
    """The files of the images that are scored; empty where they are no files, as those of embeddings."""
    store = layer.evaluation.store
    if not isinstance(store, FeatureStore):
        return ()
    split: Split = getattr(store.dataset, layer.evaluation.config.split)
    return split.paths


def write_by_class(found: Sequence[ByClass], path: Path) -> list[Path]:
    """Write NAME-classes.csv, NAME-matrix.csv and NAME-images.csv beside `path` NAME.csv, tidy; returns their paths."""
    files: list[tuple[str, tuple[str, ...], Iterable[tuple[object, ...]]]] = [
        ("classes", ("class", "metric", "value"), ((*one.origin, *row) for one in found for row in class_rows(one))),
        ("matrix", ("class", "other", "metric", "value"), ((*one.origin, *row) for one in found for row in pairs(one))),
        (
            "images",
            tuple(PlacedImage.__dataclass_fields__),
            ((*one.origin, *vars(image).values()) for one in found for image in one.worst),
        ),
    ]
    written = []
    for name, columns, rows in files:
        written.append(path.with_name(f"{path.stem}-{name}.csv"))
        write_atomic(written[-1], csv_text((*ORIGIN, *columns), rows))
    return written


def class_rows(found: ByClass) -> Iterator[tuple[str, str, float | int]]:
    """(class, metric, value): the number of images and every metric."""
    for place, name in enumerate(found.classes):
        yield name, "n", int(found.counts[place])
        for metric, values in found.values.items():
            yield name, metric, float(values[place])


def pairs(found: ByClass) -> Iterator[tuple[str, str, str, float]]:
    """(class, other, metric, value): the CDNV of every two classes, the share that kNN answers as the other."""
    for metric, matrix in (("cdnv", found.crowding), ("knn", found.confusion)):
        for row, name in enumerate(found.classes):
            for column, other in enumerate(found.classes):
                if metric == "knn" or row != column:
                    yield name, other, metric, float(matrix[row, column])
