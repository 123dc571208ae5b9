"""The tables of results/research.md: runs under development, and what graphs of neighbours tell without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter, itemgetter

from benchmarks.committed import committed, named, plain_table, records, tables
from dsabench.report.overview import mean_of
from dsabench.report.table import Cell, Column, Mean, Number, Table, grouped
from dsabench.tables.comparisons import key_of

# The metrics by their names in tables, each with the head of its column here.
METRICS: Mapping[str, Column] = {
    "CDNV": Column("CDNV", "mean"),
    "directional CDNV": Column("directional CDNV", "mean"),
    "1-shot (centroid)": Column("1 label", "mean", "%"),
    "5-shot (centroid)": Column("5 labels", "mean", "%"),
    "kNN (k=20)": Column("kNN", "mean", "%"),
    "linear": Column("linear", "mean", "%"),
}
PAIRS = Column("same class among the pairs of a batch", "mean", "%")
# What has a column where the runs of a table differ in it.
CONDITIONS: Mapping[str, Column] = {
    "layer": Column("layer", "text"),
    "dataset": Column("data", "text"),
    "split": Column("split", "text"),
    "backbone": Column("backbone", "text"),
    "train_images": Column("training images", "count"),
    "epochs": Column("epochs", "count"),
    "batch_size": Column("batch", "count"),
}
# What changes features after training stands beside what does it in training, at the defaults.
PLAIN = ("simclr", "simclr+dsa[adjust=off,weight=3]", "byol", "byol+dsa[adjust=off,weight=3]")
POSTHOC = ("backbone", "whiten[power=0.5]", "smooth[k=20]", "smooth[layer=whiten]")
ADJUSTED = ("adjust[by=neighbours]", "whiten[power=0.5]", "smooth[k=20]")
BY_VIEWS = ("adjust", "adjust[by=neighbours]", "whiten[power=0.5]")
# The columns of the run that a line is about.
WHO = (Column("spec", "text"), Column("epochs", "count"), Column("data", "text"))
# Scores by their names in the table, and what their columns are called.
SCORES: Mapping[str, str] = {
    "in_degree": "in-degree",
    "cosine": "mean cosine",
    "mutual": "mutual share",
    "transitivity": "local transitivity",
    "dsa": "s of DSA",
    "dsa_in_batches": "s of DSA, in batches",
}


def development(name: str, specs: Sequence[str] | None = None, layers: Sequence[str] = ("backbone",)) -> Table:
    """A line for each spec of the table of rows `results/NAME.csv`, in its order: means over seeds on these layers.

    `specs` are those to show, all if None. What the runs differ in beside the spec has a column of its own and parts
    the lines, as have layers; a metric that the table does not have has none.
    """
    rows = [row for row in committed(name).rows if row.layer in layers and (specs is None or row.spec in specs)]
    conditions = [one for one in CONDITIONS if len({getattr(row, one) for row in rows}) > 1]
    measured = [row for row in rows if row.value is not None]
    found = {named(key_of(row)) for row in measured}
    metrics = [metric for metric in METRICS if metric in found]
    paired = any(row.similar_precision is not None for row in measured)
    lines: list[list[Cell]] = []
    for line in grouped(measured, attrgetter(*conditions, "spec")).values():
        values = grouped(line, lambda row: named(key_of(row)))
        means = (mean([row.value for row in values.get(metric, ())], METRICS[metric].unit) for metric in metrics)
        pairs = {row.run_id: row.similar_precision for row in line}
        own = (getattr(line[0], one) for one in conditions)
        lines.append([line[0].spec, *own, len({row.seed for row in line}), *means])
        lines[-1] += [mean([*pairs.values()], PAIRS.unit)] * paired
    heads = [Column("spec", "text"), *map(CONDITIONS.__getitem__, conditions), Column("n", "count")]
    return plain_table([*heads, *map(METRICS.__getitem__, metrics), *[PAIRS] * paired], lines)


def mean(values: Sequence[float | None], unit: str) -> Mean | None:
    """Mean and deviation of the values that there are; None where there is none."""
    known = [value for value in values if value is not None]
    return mean_of(known, unit) if known else None


def trust() -> Table:
    """What tells of neighbours without labels, beside how many share a class, from the largest excess down."""
    heads = [
        Column("neighbours of the same class", "number", "%"),
        Column("views agree", "number", "%"),
        Column("excess", "number"),
        Column("at a share of", "number", "%"),
        Column("rank correlation over images", "number"),
        Column("over classes", "number"),
    ]
    units = {"same_class": "%", "agreement": "%", "excess": "", "share": "%", "of_images": "", "of_classes": ""}
    lines = [[*who(one), *(Number(float(one[name]), unit) for name, unit in units.items())] for one in trusted()]
    return plain_table([*WHO, *heads], lines)


def communities() -> Table:
    """What communities of mutual neighbours have in common, beside mutual neighbours and as many nearest."""
    heads = [
        Column("k", "count"),
        Column("communities", "count"),
        Column("images in them", "number", "%"),
        Column("in the largest", "number", "%"),
        Column("others in an image's community", "number"),
        Column("same class of these", "number", "%"),
        Column("of as many nearest", "number", "%"),
        Column("of mutual neighbours", "number", "%"),
    ]
    units = {"in_communities": "%", "largest": "%", "others": ""}
    units |= dict.fromkeys(("community_same_class", "nearest_same_class", "mutual_same_class"), "%")
    lines: list[list[Cell]] = []
    for one in trusted():
        numbers = (Number(float(one[name]), unit) for name, unit in units.items())
        lines.append([*who(one), int(one["k"]), int(one["communities"]), *numbers])
    return plain_table([*WHO, *heads], lines)


def trusted() -> list[dict[str, str]]:
    """The runs of `benchmarks.trust`, from the largest excess down."""
    return sorted(records("research-trust"), key=lambda one: -float(one["excess"]))


def who(one: Mapping[str, str]) -> list[Cell]:
    """The run that a line is about and its data."""
    return [one["spec"], int(one["epochs"]), f"{one['dataset']}, {int(one['images']):,} images, {one['image_size']} px"]


def scores() -> Table:
    """How well scores find the replaced images, over seeds; `together` is what their neighbours are."""
    lines: list[list[Cell]] = []
    for (data, spec), found in grouped(records("research-scores"), itemgetter("trained_on", "spec")).items():
        runs = {one["run_id"]: one for one in found}
        sizes = sorted(int(one["k"]) for one in runs.values())
        line: list[Cell] = [data, spec, len(runs), " to ".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))]
        line.append(mean([float(one["together"]) for one in runs.values()], "%"))
        for score in SCORES:
            line.append(mean([float(one["auroc"]) for one in found if one["score"] == score], ""))
        lines.append(line)
    heads = [Column("trained on", "text"), Column("spec", "text"), Column("n", "count"), Column("k", "number")]
    heads.append(Column("neighbours of a replaced image that were replaced", "mean", "%"))
    return plain_table([*heads, *(Column(head, "mean") for head in SCORES.values())], lines)


TABLES: Mapping[str, Callable[[], Table]] = {
    "research-trust": trust,
    "research-communities": communities,
    "research-scores": scores,
    **{name: partial(development, name) for name in tables() if name.startswith("research-")},
    "research-smoothed": partial(development, "research-confirm-digits", layers=("smooth[k=20]",)),
    "research-adjusted-after": partial(development, "research-adjusted", layers=ADJUSTED),
    "research-views": partial(development, "research-views", layers=("backbone", "adjust[by=neighbours]", "adjust")),
    "research-by-views-halves": partial(development, "research-by-views-halves", layers=("backbone", "adjust")),
    "research-by-views-after": partial(development, "research-by-views", layers=BY_VIEWS),
    "research-undrawn-development": partial(development, "research-undrawn-development", layers=("backbone", "adjust")),
    "research-posthoc": partial(development, "research-features-last", PLAIN, POSTHOC),
}
