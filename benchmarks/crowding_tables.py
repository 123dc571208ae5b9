"""The tables of results/README.md on what crowding goes with: outliers, bounds, correlations, classes, hard tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean

from benchmarks.committed import NAME, committed, plain_table, records
from dsabench.report.overview import mean_of
from dsabench.report.table import Cell, Column, Number, Table
from dsabench.report.wording import label, written

SHARES = (0, 10, 30)
# The metrics whose ranks are shown, and the probes that they are held against.
RANKED = ("cdnv", "directional_cdnv", "nc1", "class_overlap", "silhouette", "r_precision", "map_at_k", "rankme")
PROBES = ("kNN (k=20)", "linear", "1-shot (centroid)", "5-shot (centroid)")
# The specs whose bounds are shown; results/digits-theory.csv has them of more.
BOUNDED = ("simclr", "simclr+dsa-nested", "byol", "byol+dsa-nested", "supervised")
EPISODES = "episodes=600, queries=15, ways=5"
# The harder tasks by what the text calls them: the table that has them, and their name in it.
HARD = {
    "5-way 1-shot episodes, %": ("digits-downstream", f"1-shot ({EPISODES})"),
    "5-way 5-shot episodes, %": ("digits-downstream", f"5-shot ({EPISODES})"),
    "fine-tuned on 1% of the labels, %": ("digits-downstream", "semi (batch_size=64, share=0.01, steps=200)"),
    "fine-tuned on 10% of the labels, %": ("digits-downstream", "semi (batch_size=64, share=0.1, steps=200)"),
    "long tail 100:1, linear, balanced %": ("digits-downstream", "longtail balanced accuracy (linear, ratio=100)"),
    "long tail 100:1, kNN, balanced %": ("digits-downstream", "longtail balanced accuracy (knn, ratio=100)"),
    "corrupted images, mean relative drop of kNN": ("digits-downstream", "corruptions mean relative drop (k=20)"),
    "transfer to Fashion-MNIST, linear, %": ("digits-to-fashion", "linear"),
    "transfer to Fashion-MNIST, kNN, %": ("digits-to-fashion", "kNN (k=20)"),
    "transfer to Fashion-MNIST, 5 labels, %": ("digits-to-fashion", "5-shot (centroid)"),
}


def outliers(dataset: str) -> Table:
    """What a share of noise among the training images does, and whether the scores find it."""
    found = records("outliers-auroc")
    lines: list[list[Cell]] = []
    for share in SHARES:
        table = committed(f"{dataset}-outliers-{share}")
        for spec in table.specs:
            cells = [table.mean(spec, metric) for metric in ("CDNV", *PROBES[:1], *PROBES[2:])]
            trained_on = table.rows[0].trained_on
            scores = [float(one["auroc"]) for one in found if (one["spec"], one["trained_on"]) == (spec, trained_on)]
            lines.append([f"{share}%", spec, *cells, mean_of(scores, "") if scores else None])
    metrics = (("CDNV", "", False), ("kNN", "%", True), ("1 label", "%", True), ("5 labels", "%", True))
    heads = [Column(name, "mean", unit, better) for name, unit, better in (*metrics, ("AUROC of 1 - s", "", True))]
    return plain_table([Column("noise", "text"), NAME, *heads], lines)


def bounds() -> Table:
    """Each bound on each spec, over its seeds."""
    lines: list[list[Cell]] = []
    grouped: dict[tuple[str, str], list[dict[str, str]]] = {}
    for record in (one for one in records("digits-theory") if one["spec"] in BOUNDED):
        grouped.setdefault((record["bound"], record["spec"]), []).append(record)
    order = list(dict.fromkeys(bound for bound, _ in grouped))
    for bound, spec in sorted(grouped, key=lambda key: order.index(key[0])):
        found = grouped[bound, spec]
        values = [mean_of([float(one[name]) for one in found], "") for name in ("within", "between", "risk", "upper")]
        loose = fmean(float(one["upper"]) / float(one["risk"]) for one in found)
        holds = sum(one["holds"] == "true" for one in found)
        lines.append([bound, spec, *values, f"{holds} of {len(found)}", Number(loose)])
    heads = [Column(name, "mean") for name in ("intra-class term", "separation term", "measured risk", "bound")]
    ends = [Column("holds", "text"), Column("bound / risk", "number")]
    return plain_table([Column("bound", "text"), Column("spec", "text"), *heads, *ends], lines)


def correlations(dataset: str) -> Table:
    """Spearman's rho of metrics with probes, over specs, and within where there are seeds enough."""
    lines: list[list[Cell]] = []
    found = {
        (one["metric"], label(one["probe"], one["probe_params"], "accuracy"), one["kind"]): one
        for one in records(f"{dataset}-correlations")
    }
    for metric in RANKED:
        line: list[Cell] = [label("crowding", found_params(dataset, metric), metric)]
        for probe in PROBES:
            over, within = (found[metric, probe, kind] for kind in ("over", "within"))
            line.append(f"{rho(over)} ({rho(over, 'low')} to {rho(over, 'high')})")
            if int(within["n"]):
                line[-1] = f"{line[-1]}; {rho(within)}"
        lines.append(line)
    return plain_table([NAME, *(Column(probe, "difference") for probe in PROBES)], lines)


def found_params(dataset: str, metric: str) -> str:
    """The parameters that the rows of a metric bear."""
    return next(row.probe_params for row in committed(f"{dataset}-depth").rows if row.metric == metric)


def rho(record: Mapping[str, str], what: str = "rho") -> str:
    """A coefficient as tables have it."""
    return written(Number(float(record[what])))


def classes() -> Table:
    """Who crowds each class of digits, plainly trained and with DSA."""
    pairs = [one for one in records("digits-per-class-matrix") if one["metric"] == "cdnv"]
    runs = list(dict.fromkeys((one["run_id"], one["regularizer"]) for one in pairs))
    lines: list[list[Cell]] = []
    for name in dict.fromkeys(one["class"] for one in pairs):
        line: list[Cell] = [name]
        for run, _ in runs:
            own = {one["other"]: float(one["value"]) for one in pairs if (one["run_id"], one["class"]) == (run, name)}
            worst = max(own, key=lambda other: own[other])
            line += [worst, Number(own[worst]), Number(fmean(own.values()))]
        lines.append(line)
    heads = [Column("class", "text")]
    for _, regularizer in runs:
        title = "simclr" if regularizer == "none" else f"simclr+{regularizer}"
        heads += [Column(f"{title}: crowded by", "text"), Column("CDNV", "number"), Column("mean CDNV", "number")]
    return plain_table(heads, lines)


def hard_tasks() -> Table:
    """The tasks that are harder than the core probes, plain and with DSA, with the paired difference of either."""
    lines: list[list[Cell]] = []
    for name, (source, metric) in HARD.items():
        table = committed(source)
        line: list[Cell] = [name]
        for method in ("simclr", "byol"):
            effect = table.effect(f"{method}+dsa-nested", method, metric)
            line += [table.mean(method, metric), table.mean(f"{method}+dsa-nested", metric), effect.interval]
        lines.append(line)
    heads = [Column("task", "text")]
    for method in ("simclr", "byol"):
        heads += [Column(method, "mean"), Column("+dsa-nested", "mean"), Column("difference (exact 95%)", "interval")]
    return plain_table(heads, lines)


TABLES: Mapping[str, Callable[[], Table]] = {
    "digits-outliers": lambda: outliers("digits"),
    "fashion-outliers": lambda: outliers("fashion"),
    "digits-theory": bounds,
    "digits-correlations": lambda: correlations("digits"),
    "fashion-correlations": lambda: correlations("fashion"),
    "digits-per-class": classes,
    "digits-downstream": hard_tasks,
}
