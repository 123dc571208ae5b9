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

# What is compared with what: the regularizer and the layer of each.
PLAIN, ADJUSTED, DSA = ("none", "backbone"), ("none", "adjust"), ("dsa", "backbone")
PAIRS: Mapping[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "dsa": (DSA, PLAIN),
    "adjusted": (ADJUSTED, PLAIN),
    "dsa beyond adjusted": (DSA, ADJUSTED),
}


def differences(name: str) -> Table:
    """A line for each of these of every method of `results/NAME.csv`, plain on the same seeds.

    CDNV in percent of what it is held against, accuracies in points; with exact 95% intervals from six seeds on, and
    below with the number of seeds in which the sign is that of the mean.
    """
    rows = [row for row in committed(name).rows if row.value is not None]
    plain = [row for row in rows if row.regularizer == "none"]
    places = list(dict.fromkeys((row.dataset, row.batch_size, row.method) for row in plain))
    lines: list[Sequence[Cell]] = []
    for what, (arm, against) in PAIRS.items():
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
    f"{name}-differences": partial(differences, name) for name in ("research-undrawn", "research-undrawn-sweeps")
}
