"""One metric over several data sets: a column a data set, and what they come to together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING

from dsabench.report.table import Arm, Cell, Column, Mean, Number, Section, Table
from dsabench.report.wording import BETTER, counted, label, unit_of, written
from dsabench.tables.rows import Row

if TYPE_CHECKING:
    from dsabench.stats.aggregate import Estimate
    from dsabench.stats.outcomes import MetricKey

SPREAD = f"mean±standard deviation over seeds; {BETTER}"
# One metric of each run: [arm][data set][seed].
Scores = Mapping[str, Mapping[str, Mapping[int, float]]]


def dataset_table(arms: Mapping[str, Sequence[Row]], key: MetricKey) -> Table:
    """A line an arm, the baseline first: mean and spread on every data set, the interquartile mean over data sets and
    seeds, and how probable an improvement over the baseline is.

    Where a metric is no accuracy its scale differs between data sets, and the interquartile mean is of its ratio to the
    baseline's mean there. An arm that was not measured on every data set has no number over them, and where that is
    every arm but the baseline there are no such columns.
    """
    # SciPy comes with it.
    from dsabench.tables.comparisons import key_of

    scores: dict[str, dict[str, dict[int, float]]] = {arm: {} for arm in arms}
    higher_is_better = False
    for arm, row in ((arm, row) for arm, own in arms.items() for row in own):
        if row.status == "ok" and row.value is not None and key_of(row) == key:
            scores[arm].setdefault(row.dataset, {})[row.seed] = row.value
            higher_is_better = row.higher_is_better is True
    names = list(dict.fromkeys(dataset for arm in scores.values() for dataset in arm))
    baseline, unit = next(iter(scores)), unit_of(key.metric)
    name = label(key.probe, key.params, key.metric)
    each = (Column("spec", "text"), *(Column(dataset, "mean", unit, higher_is_better) for dataset in names))
    over = (
        Column("IQM" if unit else "IQM ratio", "mean", unit, higher_is_better),
        Column("95% interval", "interval"),
        Column("P(better)", "number"),
        Column("95% interval", "interval"),
        Column("better/tie/worse", "count"),
    )
    whole = [arm for arm, measured in scores.items() if set(measured) == set(names) == set(scores[baseline])]
    # The baseline alone is compared with nothing.
    compared = len(whole) > 1
    lines = []
    for arm, measured in scores.items():
        cells: list[Cell] = [Arm(arm), *(_mean(measured.get(dataset, {}), unit) for dataset in names)]
        if compared:
            all_there = arm in whole
            cells += (
                _together(arm, baseline, scores, names, unit, higher_is_better) if all_there else [None] * len(over)
            )
        lines.append(tuple(cells))
    notes = _notes(unit)
    if not compared:
        notes = (SPREAD, "no arm was measured on all of them as the baseline was: nothing over them")
    return Table(
        f"{name} on {counted(len(names), 'data set')}, {key.layer} features",
        (*each, *over) if compared else each,
        (Section(tuple(lines)),),
        notes,
    )


def _notes(unit: str) -> tuple[str, ...]:
    what = (
        "over data sets and seeds"
        if unit
        else "of the ratio to the baseline's mean on each data set, over data sets and seeds"
    )
    return (
        SPREAD,
        f"IQM: interquartile mean {what} (arXiv 2108.13264)",
        "P(better): the share of paired seeds ahead of the baseline, a tie half, as the mean over data sets; "
        "of all pairs of runs where seeds are not paired",
        "intervals: bootstrap of seeds within each data set; ties are ties, not ranks",
    )


def _mean(runs: Mapping[int, float], unit: str) -> Cell:
    values = list(runs.values())
    return Mean(mean(values), stdev(values) if len(values) > 1 else None, len(values), unit) if values else None


def _together(
    arm: str, baseline: str, scores: Scores, names: Sequence[str], unit: str, higher_is_better: bool
) -> tuple[Cell, ...]:
    # SciPy comes with it.
    from dsabench.stats.aggregate import improvement_estimate, interquartile_estimate, record

    scales = [1.0 if unit else mean(scores[baseline][name].values()) for name in names]
    shares = [
        [value / scale for value in scores[arm][name].values()] for name, scale in zip(names, scales, strict=True)
    ]
    middle = interquartile_estimate(shares)
    cells: list[Cell] = [Mean(middle.value, None, len(names), unit), _bounds(middle, unit)]
    if arm == baseline:
        return *cells, None, None, None
    seeds = {name: sorted(scores[arm][name].keys() & scores[baseline][name].keys()) for name in names}
    sign = 1 if higher_is_better else -1
    paired = all(
        seeds[name] and len(seeds[name]) == len(scores[arm][name]) == len(scores[baseline][name]) for name in names
    )
    ours, theirs = (
        [[sign * scores[one][name][seed] for seed in (seeds[name] if paired else scores[one][name])] for name in names]
        for one in (arm, baseline)
    )
    probable = improvement_estimate(ours, theirs, paired=paired)
    came = record(ours, theirs) if paired else None
    counts = f"{came.ahead}/{came.level}/{came.behind}" if came else None
    return *cells, Number(probable.value), _bounds(probable, ""), counts


def _bounds(estimate: Estimate, unit: str) -> str:
    if math.isinf(estimate.low):
        return "one run"
    return f"{written(Number(estimate.low, unit))} to {written(Number(estimate.high, unit))}"
