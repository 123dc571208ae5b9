"""How a report opens: the finding in a sentence, and what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dsabench.report.legend import comparisons_called, legend
from dsabench.report.page.blocks import Absent, Block, Fold, Grid, Listing, Words
from dsabench.report.page.material import Material
from dsabench.report.sentences import declared, finding
from dsabench.report.table import Cell, Column, Section, Table, Verdict
from dsabench.report.wording import amount, counted, label, unit_of
from dsabench.tables.rows import Row


def opening(material: Material, deviations: Sequence[str]) -> tuple[Block, ...]:
    """The finding, every pair's sentence, what brief names stand for, and the verdict's conditions.

    `deviations` are from what was declared.
    """
    if material.obstacle:
        first: list[Block] = [Words(f"Nothing was compared: {material.obstacle}.", emphasised=True)]
    else:
        sentences = finding(comparisons_called(material.comparisons, material.names)).split("\n")
        first = [Words(headline(material, sentences), emphasised=True)]
        explained = tuple(Listing(table.notes) for table in legend(material.names))
        if len(sentences) > 1:
            first.append(Fold(f"All {len(sentences)} comparisons in words", (Listing(tuple(sentences)), *explained)))
        else:
            first += explained
    if deviations:
        first.append(Words(declared(deviations)))
    return (*first, Grid(conditions(material)))


def headline(material: Material, sentences: Sequence[str]) -> str:
    """The sentence of the only pair, or how the pairs of regularized arms and their own plain methods came out."""
    if len(sentences) == 1:
        return sentences[0]
    own = [one for one in material.primaries if (one.spec, one.against) in material.own_pairs]
    judged = own or material.primaries
    baseline = material.names[material.specs[0]]
    whom = "regularized arms against their own plain methods" if own else f"arms against {baseline}"
    words = Counter(one.word for one in judged)
    told = "; ".join(f"{count} {word}" for word, count in words.most_common())
    return f"{len(judged)} {whom} on {judged[0].measure.label}, {counted(judged[0].n_pairs, 'seed')} each: {told}."


def conditions(material: Material) -> Table:
    """What a verdict depends on, a line each."""
    criteria, rows = material.criteria, material.rows
    key = material.primary_key
    primary = label(key.probe, key.params, key.metric) if key else str(criteria.primary)
    guards = [
        f"{label(found.probe, found.params, found.metric)}: must not have fallen by more than "
        + (counted_points(guard.margin) if unit_of(found.metric) else amount(guard.margin, ""))
        if (found := guard.choice.among(material.directions, material.layer))
        else f"{guard.choice}: not measured"
        for guard in criteria.guards
    ]
    lines = [
        ("primary metric", f"{primary}, on {material.layer} features"),
        ("smallest effect of interest", f"{amount(criteria.smallest_effect, '%')}% of the baseline's mean"),
        ("guards", "; ".join(guards) or "none"),
        ("seeds", f"{len(material.seeds)} ({', '.join(map(str, material.seeds))}), paired"),
        ("data", "; ".join(dict.fromkeys(f"{row.dataset}, {row.split or 'no'} split" for row in rows))),
        ("options chosen", "; ".join(_tunings(rows))),
        ("failures", failures(material)),
    ]
    return Table(
        "What the verdicts rest on", (Column("condition", "name"), Column("here", "text")), (Section(tuple(lines)),)
    )


def counted_points(margin: float) -> str:
    """A share of 1 as points."""
    text = amount(margin, "%")
    return f"{text} point{'s' * (text != '1')}"


def _tunings(rows: Sequence[Row]) -> list[str]:
    told = dict.fromkeys(row.tuning or "not written down (an older table)" for row in rows)
    return list(told)


def failures(material: Material) -> str:
    """Which runs failed, and which seeds an arm lacks: none is ever dropped."""
    runs = dict.fromkeys((row.spec, row.run_id) for row in material.rows if row.status == "failed")
    failed = Counter(spec for spec, _ in runs)
    words = [f"{spec}: {counted(count, 'run')} failed" for spec, count in failed.items()]
    for spec in material.specs:
        missing = sorted(set(material.seeds) - {row.seed for row in material.rows if row.spec == spec})
        # Floors such as raw pixels have one seed by their nature.
        if missing and len(missing) < len(material.seeds) - 1:
            words.append(f"{spec}: no run of seed {', '.join(map(str, missing))}")
    undefined = Counter(row.spec for row in material.rows if row.status == "undefined")
    words += [f"{spec}: {counted(count, 'value')} not defined" for spec, count in undefined.items()]
    return "; ".join(words) or "none"


def several(materials: Sequence[Material]) -> tuple[Block, ...]:
    """Several tables side by side: the primary difference of every pair that more than one of them has."""
    heads = [material.title for material in materials]
    by_table = [{(one.spec, one.against): one for one in material.primaries} for material in materials]
    known = dict.fromkeys(pair for found in by_table for pair in found)
    pairs = [pair for pair in known if sum(pair in found for found in by_table) > 1]
    if not pairs:
        return (Absent("no pair of arms is in more than one of these tables, so nothing stands side by side."),)
    columns = [Column("arm", "name"), Column("against", "text")]
    for head in heads:
        columns += [Column(f"{head}: diff.", "difference"), Column("verdict", "verdict")]
    lines = []
    for pair in pairs:
        cells = [found.get(pair) for found in by_table]
        line: list[Cell] = [*pair]
        for one in cells:
            line += [one.difference, Verdict(one.word)] if one else [None, None]
        lines.append(tuple(line))
    metric = ", ".join(dict.fromkeys(found[0].measure.label for found in (m.primaries for m in materials) if found))
    return (Grid(Table(f"Side by side: {metric}", tuple(columns), (Section(tuple(lines)),)), filtered=True),)
