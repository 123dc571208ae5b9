"""Tables of what an evaluation says class by class: the classes, who crowds whom, the images that lie worst."""

from __future__ import annotations

import math

from torch import Tensor

from dsabench.evaluation.classes import ORIGIN, ByClass
from dsabench.report.table import Cell, Column, Number, Section, Table
from dsabench.report.wording import BETTER, label

# Wider matrices are for the CSV file.
WIDEST = 20
SHOWN_IMAGES = 10

_METRICS = (
    ("intra_class_variance", "intra-class var.", "", False),
    ("cdnv", "CDNV", "", False),
    ("directional_cdnv", "directional CDNV", "", False),
    ("nearest_class_gap", "nearest-class gap", "", True),
    ("class_overlap", "overlap", "%", False),
    ("accuracy", "kNN", "%", True),
)


def class_tables(found: ByClass) -> list[Table]:
    """One line a class, the two matrices where they are narrow enough, and the worst placed images."""
    narrow = len(found.classes) <= WIDEST
    return [_classes(found), *((_crowding(found), _confusion(found)) if narrow else ()), _images(found)]


def _classes(found: ByClass) -> Table:
    about = dict(zip(ORIGIN, found.origin, strict=True))
    spec = about["method"] if about["regularizer"] == "none" else f"{about['method']}+{about['regularizer']}"
    title = f"{spec} s{about['seed']}, run {about['run_id']}: {about['dataset']}, {about['split']}, {about['layer']}"
    columns = [Column("class", "name"), Column("n", "count")]
    columns += [Column(name, "mean", unit, higher) for _, name, unit, higher in _METRICS]
    nearest = found.crowding.nan_to_num(nan=-1.0).argmax(dim=1).tolist()
    rows = tuple(
        (
            name,
            int(found.counts[place]),
            *(Number(float(found.values[metric][place]), unit) for metric, _, unit, _ in _METRICS),
            found.classes[nearest[place]],
        )
        for place, name in enumerate(found.classes)
    )
    return Table(title, (*columns, Column("crowded by", "text")), (Section(rows),), (BETTER,))


def _crowding(found: ByClass) -> Table:
    return _matrix(found, "CDNV of each two classes: who crowds whom", found.crowding, "")


def _confusion(found: ByClass) -> Table:
    name = label("knn", "{}", "accuracy")
    return _matrix(found, f"{name}: % of a class (lines) answered as each (columns)", found.confusion, "%")


def _matrix(found: ByClass, title: str, matrix: Tensor, unit: str) -> Table:
    def line(name: str, values: list[float]) -> tuple[Cell, ...]:
        return name, *(None if math.isnan(value) else Number(value, unit) for value in values)

    columns = (Column("class", "name"), *(Column(name, "number", unit) for name in found.classes))
    rows = tuple(line(name, values) for name, values in zip(found.classes, matrix.tolist(), strict=True))
    return Table(title, columns, (Section(rows),))


def _images(found: ByClass) -> Table:
    columns = [Column("image", "name"), Column("class", "text"), Column("nearest other", "text")]
    columns += [Column("kNN", "text"), Column("own / other", "number")]
    rows = tuple(
        (one.image, one.label, one.nearest, one.answered, Number(one.own_distance / one.other_distance))
        for one in found.worst[:SHOWN_IMAGES]
        if one.other_distance
    )
    note = "own / other: distance to the mean of its class over that to the nearest other; above 1 it lies there"
    return Table("the images that lie worst", tuple(columns), (Section(rows),), (note,))
