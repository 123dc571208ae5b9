"""Tables of paired comparisons: a table a pair of specs, a line a metric."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from dsabench.report.outcomes import ROLES, Outcome, outcomes
from dsabench.report.table import Cell, Column, Section, Table, Verdict, grouped
from dsabench.report.wording import BETTER, n_seeds, short_names, written

if TYPE_CHECKING:
    from dsabench.stats import Comparison


def paired_tables(comparisons: Sequence[Comparison], *, limit: int | None = None) -> list[Table]:
    """A table for each pair of specs, the primary metric first; `limit` bounds its secondary metrics.

    Those left out are counted below the table and stay in the Holm family, so that a limit changes no p.
    """
    pairs = grouped(outcomes(comparisons), attrgetter("spec", "against")).values()
    return [_table(sorted(pair, key=lambda outcome: ROLES.index(outcome.role)), limit) for pair in pairs]


def _table(pair: Sequence[Outcome], limit: int | None) -> Table:
    first = pair[0]
    secondary = [outcome for outcome in pair if outcome.role == "secondary"]
    hidden = [] if limit is None else secondary[limit:]
    shown = [outcome for outcome in pair if outcome not in hidden]
    after, before = short_names(first.spec, first.against)
    columns = (
        Column("metric", "text"),
        Column(before, "number"),
        Column(after, "number"),
        Column("diff.", "difference"),
        Column("95% interval", "interval"),
        Column("p", "p"),
        Column("verdict", "verdict"),
    )
    sections = tuple(
        Section(tuple(_line(outcome) for outcome in group), f"{role}, {layer}", emphasised=role == "primary")
        for (role, layer), group in grouped(shown, attrgetter("role", "layer")).items()
    )
    counts = sorted({outcome.n_seeds for outcome in pair})
    seeds = n_seeds(counts[0]) if len(counts) == 1 else f"{counts[0]} to {n_seeds(counts[-1])}"
    title = f"{first.spec} against {first.against}: {seeds}, paired"
    return Table(title, columns, sections, tuple(_notes(pair, len(hidden))))


def _line(outcome: Outcome) -> tuple[Cell, ...]:
    return (
        outcome.measure,
        outcome.before,
        outcome.after,
        outcome.difference,
        outcome.interval,
        outcome.p,
        Verdict(outcome.word),
    )


def _notes(pair: Sequence[Outcome], n_hidden: int) -> list[str]:
    notes = [f"{BETTER}; interval and p: exact sign-flip test"]
    for primary in (outcome for outcome in pair if outcome.role == "primary"):
        notes.append(f"primary: Student's 95% interval {written(primary.student)}")
        if primary.closed is not None:
            notes.append(f"primary: closes {primary.closed:.0%} of the gap to supervised training")
        if not primary.reachable:
            notes.append(f"primary: cannot reach .05 with {n_seeds(primary.n_seeds)}")
    family = [outcome for outcome in pair if outcome.role == "secondary"]
    adjusted = sum(outcome.p is not None for outcome in family)
    if adjusted:
        notes.append(f"secondary: p adjusted by Holm over {adjusted} secondary metrics, intervals not adjusted")
    for count, stuck in grouped((one for one in family if not one.reachable), attrgetter("n_seeds")).items():
        which = "none of them can" if len(stuck) == len(family) else f"{len(stuck)} of them cannot"
        notes.append(f"secondary: {which} reach .05 with {n_seeds(count)}, whatever the values")
    if n_hidden:
        notes.append(f"secondary: {n_hidden} more not shown here, counted by Holm all the same")
    return notes
