"""Paired differences: what `dsa` does, what adjusting does, what `dsa` does beyond it, and beside all else there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import mean
from typing import NamedTuple

from benchmarks.committed import committed, named, plain_table
from benchmarks.research_tables import METRICS
from dsabench.config.spec import Spec, parse_spec
from dsabench.report.overview import mean_of
from dsabench.report.table import Cell, Column, Difference, Interval, Table, grouped
from dsabench.report.wording import written
from dsabench.stats.paired import sign_flip_interval
from dsabench.tables.comparisons import key_of
from dsabench.tables.rows import Row

# A regularizer and a layer.
PLAIN, ADJUSTED = ("none", "backbone"), ("none", "adjust")
# What `dsa` is to gain against all else that is on offer.
GAINED = ("1-shot (centroid)", "5-shot (centroid)", "kNN (k=20)")


def differences(name: str, regularizer: str = "dsa") -> Table:
    """Lines for every method of `results/NAME.csv`: with a regularizer, and adjusted, on the same seeds as plain.

    CDNV in percent of what it is held against, accuracies in points; with exact 95% intervals from six seeds on, and
    below with the number of seeds in which the sign is that of the mean.
    """
    rows = [row for row in committed(name).rows if row.value is not None]
    plain = [row for row in rows if row.regularizer == "none"]
    places = list(dict.fromkeys((row.dataset, row.batch_size, row.method) for row in plain))
    lines: list[Sequence[Cell]] = []
    arms = {
        regularizer: ((regularizer, "backbone"), PLAIN),
        "adjusted": (ADJUSTED, PLAIN),
        f"{regularizer} beyond adjusted": ((regularizer, "backbone"), ADJUSTED),
    }
    for what, (arm, against) in arms.items():
        for place in places:
            there = [row for row in rows if (row.dataset, row.batch_size, row.method) == place]
            own, other = ([row for row in there if (row.regularizer, row.layer) == half] for half in (arm, against))
            if own:
                dataset, batch, spec = place
                lines.append([what, spec, dataset, batch, *(compared(own, other, metric) for metric in METRICS)])
    heads = [Column("", "text"), Column("spec", "text"), Column("data", "text"), Column("batch", "count")]
    return plain_table([*heads, *(Column(f"{metric.label} %", "text") for metric in METRICS.values())], lines)


def controls(name: str) -> Table:
    """A line for all that `dsa` is held against in `results/NAME.csv`, on the same seeds: arms of its method, and of
    methods that have none; the plain ones also adjusted, those of its method averaged; and whether it gains.
    """
    rows = [row for row in committed(name).rows if row.value is not None]
    arms = grouped(rows, lambda row: (row.dataset, parse_spec(row.spec), row.layer))
    subjects = [arm for arm in arms if arm[1].regularizer.name == "dsa" and arm[2] == "backbone"]
    lines: list[Sequence[Cell]] = []
    for subject in subjects:
        dataset, spec, _ = subject
        there = {one.method.name for data, one, _ in subjects if data == dataset} - {spec.method.name}
        for arm in arms:
            data, other, layer = arm
            if data != dataset or other.regularizer.name == "dsa" or other.method.name in there:
                continue
            after = ("adjust", "smooth[k=20]") if other.method.name == spec.method.name else ("adjust",)
            if layer == "backbone" or (is_plain(other) and layer in after):
                found = (compared(arms[subject], arms[arm], metric) for metric in METRICS)
                gained = gains(arms[subject], arms[arm])
                lines.append([str(spec), str(other), layer, dataset, *found, gained])
    heads = [Column("", "text"), Column("against", "text"), Column("layer", "text"), Column("data", "text")]
    heads += [Column(f"{metric.label} %", "text") for metric in METRICS.values()]
    return plain_table([*heads, Column("gains", "text")], lines)


def in_short(name: str) -> Table:
    """Means over seeds, of methods of `results/NAME.csv` with `dsa`: plain, adjusted after training, and with it.

    Of several plain arms of a method the first.
    """
    rows = [row for row in committed(name).rows if row.value is not None]
    arms = grouped(rows, lambda row: (row.dataset, parse_spec(row.spec), row.layer))
    lines: list[Sequence[Cell]] = []
    for dataset, spec, layer in arms:
        if spec.regularizer.name != "dsa" or layer != "backbone":
            continue
        method = spec.method.name
        plain = next(one for data, one, _ in arms if (data, one.method.name) == (dataset, method) and is_plain(one))
        for label, one, after in (
            (method, plain, "backbone"),
            (f"{method}, adjusted", plain, "adjust"),
            (f"{method}+dsa", spec, "backbone"),
        ):
            own = arms[dataset, one, after]
            values = grouped(own, lambda row: named(key_of(row)))
            means = (mean_of([row.value or 0.0 for row in values[metric]], METRICS[metric].unit) for metric in METRICS)
            lines.append([dataset, label, len({row.seed for row in own}), *means])
    heads = [Column("data", "text"), Column("", "text"), Column("n", "count")]
    return plain_table([*heads, *METRICS.values()], lines)


def is_plain(spec: Spec) -> bool:
    """Whether a spec has no regularizer, and the epochs of all."""
    return spec.regularizer.name == "none" and "epochs" not in spec.method.options


def gains(own: Sequence[Row], against: Sequence[Row]) -> str:
    """Whether one label, five labels or kNN are above, and none is below by more than a point, as intervals say."""
    found = [paired(own, against, metric).differences for metric in GAINED]
    sure = [(mean(one), *sign_flip_interval(one)) for one in found]
    if not all(math.isfinite(low) for _, low, _ in sure):
        return "too few seeds"
    above = any(low > 0 for _, low, _ in sure)
    return "yes" if above and not any(middle < -0.01 and high < 0 for middle, _, high in sure) else "no"


class Paired(NamedTuple):
    """Differences of a metric on the same seeds, what they are told in, and the largest value."""

    differences: list[float]
    scale: float
    size: float


def paired(own: Sequence[Row], against: Sequence[Row], metric: str) -> Paired:
    """A metric of two arms; what is no share is told as one of its mean `against`."""
    ours, theirs = (
        {row.seed: float(row.value or 0.0) for row in some if named(key_of(row)) == metric} for some in (own, against)
    )
    seeds = sorted(ours.keys() & theirs.keys())
    # An accuracy is a share; of a CDNV it is the share of what it was that counts.
    scale = 1.0 if METRICS[metric].unit else mean(theirs[seed] for seed in seeds)
    return Paired([ours[seed] - theirs[seed] for seed in seeds], scale, max(*ours.values(), *theirs.values()) / scale)


def compared(own: Sequence[Row], against: Sequence[Row], metric: str) -> str:
    """The difference of a metric, with what is known of its sign."""
    found, scale, size = paired(own, against, metric)
    value = Difference(mean(found) / scale, "%", size)
    low, high = sign_flip_interval(found)
    if math.isfinite(low):
        return f"{written(value)} ({written(Interval(low / scale, high / scale, '%', size))})"
    same = sum(one * mean(found) > 0 for one in found)
    return f"{written(value)} ({same} of {len(found)})"


TABLES: Mapping[str, Callable[[], Table]] = {
    "research-by-views-differences": partial(differences, "research-by-views", "dsa[weight=3]"),
    "research-undrawn-differences": partial(differences, "research-undrawn"),
    "research-undrawn-sweeps-differences": partial(differences, "research-undrawn-sweeps"),
    "research-equal-controls": partial(controls, "research-equal"),
    "research-equal-sweeps-differences": partial(differences, "research-equal-sweeps"),
    "dsa-in-short": partial(in_short, "research-equal"),
}
