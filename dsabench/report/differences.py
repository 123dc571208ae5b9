"""Tables of paired comparisons: a table a pair of specs, a line a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from dsabench.report.effects import ROLES, Effect, Gap, Guarded, effects
from dsabench.report.table import Cell, Column, Section, Table, Verdict, grouped
from dsabench.report.wording import BETTER, amount, counted, percent, short_names, told, too_few, written

if TYPE_CHECKING:
    from dsabench.stats import Comparison


def paired_tables(comparisons: Sequence[Comparison], *, limit: int | None = None) -> list[Table]:
    """A table for each pair of specs, the primary metric first; `limit` bounds its secondary metrics.

    Those left out are counted below the table and stay in the Holm family, so that a limit changes no p.
    """
    pairs = grouped(effects(comparisons), attrgetter("spec", "against")).values()
    return [_table(pair, limit) for pair in pairs]


def _table(pair: Sequence[Effect], limit: int | None) -> Table:
    # SciPy comes with it.
    from dsabench.stats.verdict import NO_SEEDS, TOO_FEW

    first = pair[0]
    secondary = [one for one in pair if one.role == "secondary"]
    others = [one for one in pair if one.role != "secondary"]
    shown = sorted([*others, *secondary[:limit]], key=lambda one: ROLES.index(one.role))
    after, before = short_names(first.spec, first.against)
    # A note says it of them all, and how many seeds would do.
    said_once = len(secondary) > 1 and all(one.word in (NO_SEEDS, TOO_FEW) and not one.reachable for one in secondary)
    columns: tuple[Column, ...] = (
        Column("metric", "text"),
        Column(before, "number"),
        Column(after, "number"),
        Column("diff.", "difference"),
        Column("95% interval", "interval"),
        Column("p", "p"),
        Column("verdict", "verdict"),
    )
    silent = _silent(pair)
    if silent:
        columns = tuple(column for column in columns if column.kind not in ("interval", "p"))
    sections = tuple(
        Section(tuple(_line(one, said_once, silent) for one in group), f"{role}, {layer}", emphasised=role == "primary")
        for (role, layer), group in grouped(shown, attrgetter("role", "layer")).items()
    )
    counts = sorted({one.n_pairs for one in pair})
    seeds = counted(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counted(counts[-1], 'seed')}"
    title = f"{first.spec} against {first.against}: {seeds}, paired"
    return Table(title, columns, sections, tuple(_notes(pair, len(pair) - len(shown))))


def _silent(pair: Sequence[Effect]) -> bool:
    """Whether there are so few seeds that nothing is ruled out of any metric: no interval and no p says more."""
    return all(one.interval.low == -math.inf and one.interval.high == math.inf and not one.reachable for one in pair)


def _line(one: Effect, said_once: bool, silent: bool) -> tuple[Cell, ...]:
    verdict = None if said_once and one.role == "secondary" else Verdict(one.word)
    tested: tuple[Cell, ...] = () if silent else (one.interval, one.p)
    return one.measure, one.before, one.after, one.difference, *tested, verdict


def _notes(pair: Sequence[Effect], n_hidden: int) -> list[str]:
    # SciPy comes with it.
    from dsabench.stats.verdict import NO_SEEDS

    judged = [one for one in pair if one.role != "descriptive"]
    if all(one.word == NO_SEEDS for one in judged):
        return [BETTER, "no seeds to compare over: nothing is tested", *_shortfalls(judged)]
    silent = _silent(pair)
    notes = [BETTER, *_tests(judged, silent)]
    for primary in (one for one in judged if one.role == "primary"):
        notes += [f"primary: {note}" for note in _primary(primary)]
        notes += map(_guard, primary.guards)
    notes += _secondary([one for one in judged if one.role == "secondary"], n_hidden, silent)
    skewed = [one.measure.label for one in judged if one.skewed]
    if skewed:
        notes.append(f"differences of {', '.join(skewed)} look skewed: the test assumes symmetry")
    return [*notes, *_shortfalls(judged)]


def _tests(judged: Sequence[Effect], silent: bool) -> list[str]:
    tests = {one.test for one in judged}
    if tests == {"signed-rank"}:
        which = "exact signed-rank test, failed runs last"
    elif "signed-rank" in tests:
        which = "exact sign-flip test, or where runs failed or are missing signed-rank test, failed runs last"
    else:
        which = "exact sign-flip test"
    notes = [] if silent else [f"interval and p: {which}; assumes symmetric differences"]
    if any(one.n_seeds < one.n_pairs for one in judged):
        notes.append("means and differences: over the seeds that both arms have a value for")
    return notes


def _primary(primary: Effect) -> list[str]:
    notes = []
    if math.isfinite(primary.student.low):
        notes.append(f"Student's 95% interval {written(primary.student)}")
    if primary.images is not None:
        notes.append(f"over seeds and test images: 95% interval {written(primary.images)}")
    if primary.gap is not None:
        notes.append(f"closes {_closed(primary.gap)} of the gap to {primary.gap.ceiling}")
    if primary.family > 1:
        notes.append(f"p adjusted by Holm over {primary.family} pairs against {primary.against}, interval not adjusted")
    if not primary.reachable:
        alone = f", p before Holm {written(primary.alone)}" if primary.family > 1 else ""
        notes.append(too_few(primary.n_pairs, primary.would_do) + alone)
    return notes


def _closed(gap: Gap) -> str:
    share = f"{percent(gap.share)}%"
    if gap.interval is None:
        return share
    bounded = all(map(math.isfinite, gap.interval))
    ends = " to ".join(map(percent, gap.interval)) if bounded else "unbounded"
    return f"{share} (95% interval {ends})"


def _guard(guard: Guarded) -> str:
    if guard.held is None:
        return f"guard {guard.label}: not measured on enough seeds"
    margin = amount(guard.margin, guard.gain.unit)
    return f"guard {guard.label}: {'held' if guard.held else 'fallen'} (gain {told(guard.gain)}, margin {margin})"


def _secondary(family: Sequence[Effect], n_hidden: int, silent: bool) -> list[str]:
    notes = []
    adjusted = 0 if silent else sum(one.p is not None for one in family)
    if adjusted:
        metrics = counted(adjusted, "secondary metric")
        notes.append(f"secondary: p adjusted by Holm over {metrics}, intervals not adjusted")
    for n_pairs, stuck in grouped((one for one in family if not one.reachable), attrgetter("n_pairs")).items():
        which = "all of them" if len(stuck) == len(family) else f"{len(stuck)} of them"
        notes.append(f"secondary: {too_few(n_pairs, stuck[0].would_do)} ({which})")
    if n_hidden:
        notes.append(f"secondary: {n_hidden} more left out of this table, counted by Holm all the same")
    return notes


def _shortfalls(judged: Sequence[Effect]) -> list[str]:
    """What the arms owe; with the metrics where it is not the same for all of them."""
    owing = grouped(((words, one) for one in judged for words in one.shortfalls), itemgetter(0))
    return [
        words if len(found) == len(judged) else f"{words} ({', '.join(one.measure.label for _, one in found)})"
        for words, found in owing.items()
    ]
