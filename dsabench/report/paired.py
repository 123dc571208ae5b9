"""Tables of paired comparisons: a table a pair of specs, a line a metric."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from dsabench.report.effects import ROLES, Effect, effects
from dsabench.report.table import Cell, Column, Section, Table, Verdict, grouped
from dsabench.report.wording import BETTER, counted, short_names, written

if TYPE_CHECKING:
    from dsabench.stats import Comparison


def paired_tables(comparisons: Sequence[Comparison], *, limit: int | None = None) -> list[Table]:
    """A table for each pair of specs, the primary metric first; `limit` bounds its secondary metrics.

    Those left out are counted below the table and stay in the Holm family, so that a limit changes no p.
    """
    pairs = grouped(effects(comparisons), attrgetter("spec", "against")).values()
    return [_table(pair, limit) for pair in pairs]


def _table(pair: Sequence[Effect], limit: int | None) -> Table:
    first = pair[0]
    secondary = [one for one in pair if one.role == "secondary"]
    others = [one for one in pair if one.role != "secondary"]
    shown = sorted([*others, *secondary[:limit]], key=lambda one: ROLES.index(one.role))
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
        Section(tuple(_line(one) for one in group), f"{role}, {layer}", emphasised=role == "primary")
        for (role, layer), group in grouped(shown, attrgetter("role", "layer")).items()
    )
    counts = sorted({one.n_seeds for one in pair})
    seeds = counted(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counted(counts[-1], 'seed')}"
    title = f"{first.spec} against {first.against}: {seeds}, paired"
    return Table(title, columns, sections, tuple(_notes(pair, len(pair) - len(shown))))


def _line(one: Effect) -> tuple[Cell, ...]:
    return one.measure, one.before, one.after, one.difference, one.interval, one.p, Verdict(one.word)


def _notes(pair: Sequence[Effect], n_hidden: int) -> list[str]:
    notes = [f"{BETTER}; interval and p: exact sign-flip test"]
    for primary in (one for one in pair if one.role == "primary"):
        notes.append(f"primary: Student's 95% interval {written(primary.student)}")
        if primary.closed is not None:
            notes.append(f"primary: closes {primary.closed:.0%} of the gap to supervised training")
        if not primary.reachable:
            notes.append(f"primary: cannot {_reach(primary)}")
    family = [one for one in pair if one.role == "secondary"]
    adjusted = sum(one.p is not None for one in family)
    if adjusted:
        notes.append(
            f"secondary: p adjusted by Holm over {counted(adjusted, 'secondary metric')}, intervals not adjusted"
        )
    for stuck in grouped((one for one in family if not one.reachable), attrgetter("n_seeds")).values():
        which = "none of them can" if len(stuck) == len(family) else f"{len(stuck)} of them cannot"
        notes.append(f"secondary: {which} {_reach(stuck[0])}")
    if n_hidden:
        notes.append(f"secondary: {n_hidden} more left out of this table, counted by Holm all the same")
    return notes


def _reach(one: Effect) -> str:
    return f"reach .05 with {counted(one.n_seeds, 'seed')}" + (f"; {one.would_do} would do" if one.would_do else "")
