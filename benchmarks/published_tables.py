"""The tables of README.md and results/README.md, from the committed CSV files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from benchmarks.committed import NAME, Committed, committed, plain_table
from dsabench.config.spec import parse_spec
from dsabench.report.effects import Effect
from dsabench.report.table import Cell, Column, Mean, PValue, Table, Verdict
from dsabench.report.wording import percent, written
from dsabench.tables.comparisons import own_plain

KNN, ONE, FIVE = "kNN (k=20)", "1-shot (centroid)", "5-shot (centroid)"
COLUMNS: Mapping[str, Column] = {
    "CDNV": Column("CDNV", "mean", "", False),
    "silhouette": Column("silhouette", "mean", "", True),
    ONE: Column("1 label", "mean", "%", True),
    FIVE: Column("5 labels", "mean", "%", True),
    KNN: Column("kNN", "mean", "%", True),
    "linear": Column("linear", "mean", "%", True),
    "RankMe": Column("RankMe", "mean"),
}
DIGITS = {
    "random": "random (untrained)",
    **{spec: spec for one in ("simclr", "byol", "barlow_twins") for spec in (one, f"{one}+dsa-nested")},
    "supervised": "supervised (labels)",
}
# What each row of the ablations is.
PARTS = {
    "simclr": "plain",
    "simclr+dsa-nested": "as it stands",
    "simclr+dsa-no-m": "without M (M = prior)",
    "simclr+dsa-no-scores": "without scores",
    "simclr+dsa-no-prior": "without the prior term",
    "simclr+dsa-pull": "aggregation only",
    "simclr+dsa-push": "separation only",
    "simclr+dsa-constant": "constant similarity",
    "simclr+dsa-shuffled": "shuffled prior",
    "simclr+dsa-nested[ema_every=4]": "the teacher looks every fourth time",
    "simclr+dsa-nested[prior=self]": "no teacher: the student's own features",
    "simclr+koleo": "the rival",
    "simclr+dsa-oracle": "labels (upper bound)",
    "simclr+dsa-reference": "published computation, repaired",
    "simclr+dsa-reference[reference_faults=on]": "published computation, as found",
}


def without_options(spec: str) -> str:
    """A spec as a table of tuned arms calls it."""
    return re.sub(r"\[[^\]]*\]", "", spec)


def means(table: Committed, spec: str, metrics: Sequence[str], layer: str = "backbone") -> list[Cell]:
    """The cells of one arm."""
    return [table.mean(spec, metric, layer) for metric in metrics]


def columns(metrics: Sequence[str]) -> list[Column]:
    """The columns of these metrics."""
    return [COLUMNS[metric] for metric in metrics]


def difference(one: Effect) -> str:
    """A difference with its interval: `-.106 (-.119 to -.095)`."""
    return f"{written(one.difference)} ({written(one.interval)})"


def own(table: Committed, spec: str) -> str | None:
    """The plain arm that a spec is held against; None for a plain one."""
    plain = own_plain(parse_spec(spec), list(map(parse_spec, table.specs)))
    return None if plain is None else str(plain)


def verdict(table: Committed, spec: str, against: str | None) -> Cell:
    """The verdict on a pair; nothing for an arm without one."""
    return None if against is None else Verdict(table.effect(spec, against, "CDNV").word)


def digits(metrics: Sequence[str]) -> Table:
    """Raw pixels, floor, methods with and without DSA, ceiling."""
    table, pixels = committed("digits"), committed("digits-pixels")
    lines = [["raw pixels", *means(pixels, "simclr", metrics, "pixels")]]
    lines += [[name, *means(table, spec, metrics)] for spec, name in DIGITS.items()]
    return plain_table([NAME, *columns(metrics)], lines)


def digits_pairs() -> Table:
    """Paired differences at the defaults, each a comparison of its own."""
    table = committed("digits")
    lines: list[list[Cell]] = []
    for method in ("simclr", "byol", "barlow_twins"):
        pair = (f"{method}+dsa-nested", method)
        primary, *others = (table.effect(*pair, metric) for metric in ("CDNV", ONE, KNN, "linear"))
        closed = "" if primary.gap is None else f"{percent(primary.gap.share)}%"
        lines.append(
            [" against ".join(pair), difference(primary), PValue(table.p(*pair)), *map(difference, others), closed]
        )
    heads = ("CDNV", "p", "1 label, points", "kNN, points", "linear, points", "gap closed (CDNV)")
    return plain_table([NAME, *(Column(head, "difference") for head in heads)], lines)


def tuned(metrics: Sequence[str], *, rivals: bool, verdicts: bool) -> Table:
    """The arms of equal budgets."""
    table = committed("digits-tuned")
    lines: list[list[Cell]] = []
    for spec in table.specs:
        name = without_options(spec)
        if rivals or name not in ("resa", "lejepa", "nnclr"):
            end = [verdict(table, spec, own(table, spec))] if verdicts else []
            lines.append([name, *means(table, spec, metrics), *end])
    return plain_table([NAME, *columns(metrics), *[Column("verdict", "verdict")] * verdicts], lines)


def tuned_pairs() -> Table:
    """Each tuned arm against the tuned plain method of its name."""
    table = committed("digits-tuned")
    lines: list[list[Cell]] = []
    for spec in table.specs:
        against = own(table, spec)
        if against is not None:
            primary, *others = (table.effect(spec, against, metric) for metric in ("CDNV", ONE, FIVE, KNN))
            lines.append([without_options(spec), primary.interval, primary.p, *(one.interval for one in others)])
            lines[-1].append(Verdict(primary.word))
    heads = ("1 label, points", "5 labels (guard)", "kNN (guard)")
    intervals = [Column(head, "interval") for head in heads]
    return plain_table(
        [NAME, Column("CDNV", "interval"), Column("p", "p"), *intervals, Column("verdict", "verdict")], lines
    )


def defaults_30_epochs() -> Table:
    """The defaults under the conditions of the tuned arms."""
    table, metrics = committed("digits-30-epochs"), ("CDNV", ONE, FIVE, KNN)
    lines: list[list[Cell]] = []
    for spec in table.specs:
        against = own(table, spec)
        found = None if against is None else table.effect(spec, against, "CDNV")
        end: list[Cell] = [None] * 3 if found is None else [found.interval, found.p, Verdict(found.word)]
        lines.append([spec, *means(table, spec, metrics), *end])
    ends = [Column("CDNV, difference", "interval"), Column("p", "p"), Column("verdict", "verdict")]
    return plain_table([NAME, *columns(metrics), *ends], lines)


def by_hand() -> Table:
    """A plain arm that was set by hand, and what stands against it."""
    table, metrics = committed("digits-by-hand"), ("CDNV", ONE, FIVE, KNN)
    first, on_top, *rest = table.specs
    names = {first: first, on_top: on_top, **{spec: f"{without_options(spec)}, tuned" for spec in rest}}
    lines: list[list[Cell]] = []
    for spec, name in names.items():
        found = None if spec == first else table.effect(spec, first, "CDNV")
        end: list[Cell] = [None] * 2 if found is None else [found.interval, Verdict(found.word)]
        lines.append([name, *means(table, spec, metrics), *end])
    ends = [Column("against the first: CDNV", "interval"), Column("verdict", "verdict")]
    return plain_table([NAME, *columns(metrics), *ends], lines)


def smooth() -> Table:
    """Aggregation after training, without any."""
    table, metrics = committed("digits-smooth"), ("CDNV", ONE, FIVE, KNN)
    layers = list(dict.fromkeys(row.layer for row in table.rows))
    lines = [[spec, layer, *means(table, spec, metrics, layer)] for spec in table.specs for layer in layers]
    return plain_table([NAME, Column("layer", "text"), *columns(metrics)], lines)


def ablations() -> Table:
    """Each part of DSA taken out, and what stands for the others."""
    table = committed("digits-ablations")
    lines: list[list[Cell]] = []
    for spec, part in PARTS.items():
        against = "" if spec == "simclr" else difference(table.effect(spec, "simclr", "CDNV"))
        cdnv, *others = means(table, spec, ("CDNV", ONE, KNN, "RankMe"))
        lines.append([spec, part, cdnv, against, *others])
    head, *heads = columns(("CDNV", ONE, KNN, "RankMe"))
    middle = Column("difference to plain (exact 95%)", "difference")
    return plain_table([Column("spec", "text"), NAME, head, middle, *heads], lines)


def methods() -> Table:
    """Every method, plain and with DSA."""
    table = committed("digits-methods")
    lines: list[list[Cell]] = []
    for spec in (one for one in table.specs if "+" not in one):
        labels = " (labels)" if spec in ("supcon", "supervised") else ""
        line: list[Cell] = [spec + labels]
        paired = f"{spec}+dsa-nested" in table.specs
        for metric in ("CDNV", ONE, KNN):
            line += [table.mean(spec, metric), table.mean(f"{spec}+dsa-nested", metric) if paired else None]
            if metric == "CDNV":
                line.append(difference(table.effect(f"{spec}+dsa-nested", spec, metric)) if paired else "")
        ranks = [table.mean(one, "RankMe") for one in (spec, *[f"{spec}+dsa-nested"] * paired)]
        lines.append([*line, " / ".join(written(Mean(one.value, None, one.n)) for one in ranks)])
        lines[-1].append(verdict(table, f"{spec}+dsa-nested", spec if paired else None))
    after = Column("+dsa-nested", "mean")
    heads = [COLUMNS["CDNV"], after, Column("difference (exact 95%)", "difference"), COLUMNS[ONE], after, COLUMNS[KNN]]
    return plain_table([NAME, *heads, after, Column("RankMe", "number"), Column("verdict", "verdict")], lines)


def cifar10() -> Table:
    """Real photographs, on which no difference was shown."""
    table, metrics = committed("cifar10-jpeg"), ("CDNV", "silhouette", ONE, KNN, "linear", "RankMe")
    return plain_table([NAME, *columns(metrics)], [[spec, *means(table, spec, metrics)] for spec in table.specs])


TABLES: Mapping[str, Callable[[], Table]] = {
    "digits-in-short": lambda: digits(("CDNV", "silhouette", ONE, KNN)),
    "digits-tuned-in-short": lambda: tuned(("CDNV", ONE, FIVE, KNN), rivals=False, verdicts=True),
    "digits": lambda: digits(("CDNV", "silhouette", ONE, FIVE, KNN, "linear", "RankMe")),
    "digits-pairs": digits_pairs,
    "digits-tuned": lambda: tuned(("CDNV", ONE, FIVE, KNN, "linear", "RankMe"), rivals=True, verdicts=False),
    "digits-tuned-pairs": tuned_pairs,
    "digits-30-epochs": defaults_30_epochs,
    "digits-by-hand": by_hand,
    "digits-smooth": smooth,
    "digits-ablations": ablations,
    "digits-methods": methods,
    "cifar10-jpeg": cifar10,
}
