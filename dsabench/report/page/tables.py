"""The tables of a report for papers and READMEs: the same values as on the page."""

from __future__ import annotations

from dsabench.report.differences import paired_tables
from dsabench.report.latex import best_cells, latex
from dsabench.report.overview import overview_tables
from dsabench.report.page.material import Material
from dsabench.report.page.measured import marked
from dsabench.report.table import Table
from dsabench.report.wording import label


def tables_of(material: Material) -> list[Table]:
    """The overview of every layer, and a table for every pair."""
    layers = list(dict.fromkeys(row.layer for row in material.rows if row.layer)) or [material.layer]
    found = [marked(table, layer) for layer in layers for table in overview_tables(material.rows, layer=layer)]
    return [*found, *paired_tables(material.comparisons)]


def as_latex(material: Material) -> str:
    """All tables; in the overview of the verdict's layer the primary metric's best in bold, where a verdict allows."""
    better = {(one.spec, one.against) for one in material.primaries if one.word == "better"}
    key = material.primary_key
    column = label(key.probe, key.params, key.metric) if key else ""
    return "\n".join(latex(table, bold=best_cells(table, better, column)) for table in tables_of(material))
