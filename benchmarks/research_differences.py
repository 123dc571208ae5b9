"""Paired differences: what `dsa` does, what adjusting features after training does, and what `dsa` does beyond it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import mean

from benchmarks.committed import committed, named, plain_table
from benchmarks.research_tables import METRICS
from dsabench.report.table import Cell, Column, Difference, Interval, Table
from dsabench.report.wording import written
from dsabench.stats.paired import sign_flip_interval
from dsabench.tables.comparisons import key_of
from dsabench.tables.rows import Row

# A regularizer and a layer.
PLAIN, ADJUSTED = ("none", "backbone"), ("none", "adjust")


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


def compared(own: Sequence[Row], against: Sequence[Row], metric: str) -> str:
    """The difference of a metric, with what is known of its sign."""
    ours, theirs = (
        {row.seed: float(row.value or 0.0) for row in some if named(key_of(row)) == metric} for some in (own, against)
    )
    seeds = sorted(ours.keys() & theirs.keys())
    found = [ours[seed] - theirs[seed] for seed in seeds]
    # An accuracy is a share; of a CDNV it is the share of what it was that counts.
    scale = 1.0 if METRICS[metric].unit else mean(theirs[seed] for seed in seeds)
    size = max(*ours.values(), *theirs.values()) / scale
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
}
