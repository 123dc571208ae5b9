"""Results for people: tables as values, what draws them, one plain sentence a comparison, and the summary CSV.

`overview_tables`, `paired_tables`, `value_tables`, `run_table` and `listing_table` compute tables, `terminal.draw` and
`markdown.markdown` draw one; `print_...` compute and draw on a console.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dsabench.report.chart import Log, chart_table, log_table
from dsabench.report.datasets import dataset_table
from dsabench.report.differences import paired_tables
from dsabench.report.entries import evaluator_table, listing_table, run_table
from dsabench.report.legend import comparisons_called, legend, rows_called
from dsabench.report.over_images import model_findings, model_tables
from dsabench.report.overview import overview_tables
from dsabench.report.sentences import declared, finding, narrowed, one_model_each, per_image, reach
from dsabench.report.summary import write_model_summary, write_summary
from dsabench.report.table import Table
from dsabench.report.values import value_tables
from dsabench.report.wording import label

if TYPE_CHECKING:
    from rich.console import Console

    from dsabench.config.catalogue import Description
    from dsabench.evaluation.classes import ByClass
    from dsabench.stats import Comparison
    from dsabench.stats.weights import ImageComparison
    from dsabench.tables.criteria import Criteria
    from dsabench.tables.rows import Row
    from dsabench.training.estimate import Estimate, Total

__all__ = [
    "chart_table",
    "comparisons_called",
    "dataset_table",
    "declared",
    "finding",
    "label",
    "legend",
    "listing_table",
    "log_table",
    "model_findings",
    "model_tables",
    "narrowed",
    "one_model_each",
    "overview_tables",
    "paired_tables",
    "per_image",
    "print_by_class",
    "print_chart",
    "print_comparisons",
    "print_datasets",
    "print_description",
    "print_legend",
    "print_listing",
    "print_log",
    "print_models",
    "print_overview",
    "print_plans",
    "print_runs",
    "print_values",
    "print_words",
    "reach",
    "rows_called",
    "run_table",
    "value_tables",
    "write_model_summary",
    "write_summary",
]


def print_overview(console: Console, rows: Sequence[Row], *, layer: str = "backbone") -> None:
    """Draw `overview_tables`."""
    _draw(console, overview_tables(rows, layer=layer))


def print_comparisons(console: Console, comparisons: Sequence[Comparison], *, limit: int | None = None) -> None:
    """Draw `paired_tables`."""
    _draw(console, paired_tables(comparisons, limit=limit))


def print_chart(
    console: Console, comparisons: Sequence[Comparison], rows: Sequence[Row], logs: Mapping[str, Sequence[Log]]
) -> None:
    """Draw `chart_table` of the primary metric."""
    from dsabench.tables.comparisons import key_of

    primary = next((one.key for one in comparisons if one.role == "primary"), None)
    like = next((row for row in rows if row.value is not None and key_of(row) == primary), None)
    if like is not None:
        _draw(console, [chart_table(like, rows, logs)])


def print_log(console: Console, log: Log, title: str) -> None:
    """Draw `log_table`."""
    _draw(console, [log_table(log, title)])


def print_models(console: Console, comparisons: Sequence[ImageComparison]) -> None:
    """Draw `model_tables`."""
    _draw(console, model_tables(comparisons))


def print_datasets(console: Console, arms: Mapping[str, Sequence[Row]], criteria: Criteria, layer: str) -> None:
    """Draw `dataset_table` of the primary metric, which it was measured on everywhere under the same options."""
    from dsabench.tables.comparisons import key_of

    rows = [row for own in arms.values() for row in own if row.status == "ok" and row.value is not None]
    key = criteria.primary.among(map(key_of, rows), layer)
    if key is not None:
        _draw(console, [dataset_table(arms, key)])


def print_values(console: Console, rows: Sequence[Row]) -> None:
    """Draw `value_tables`."""
    _draw(console, value_tables(rows))


def print_by_class(console: Console, found: ByClass) -> None:
    """Draw `class_tables.class_tables`."""
    # Classes are counted in tensors, and no other table needs torch.
    from dsabench.report.class_tables import class_tables

    _draw(console, class_tables(found))


def print_listing(console: Console, kind: str, entries: Sequence[Mapping[str, str]]) -> None:
    """Draw `listing_table`, of probes and metrics `evaluator_table`."""
    _draw(console, [evaluator_table(entries) if entries and "cost" in entries[0] else listing_table(kind, entries)])


def print_runs(console: Console, store: str, runs: Sequence[Mapping[str, object]], *, of: int) -> None:
    """Draw `run_table`."""
    _draw(console, [run_table(store, runs, of=of)])


def print_description(console: Console, description: Description) -> None:
    """Draw `description_tables`, and its documentation below."""
    # What it describes imports torch.
    from dsabench.report.descriptions import description_tables, reflowed

    _draw(console, description_tables(description))
    if description.about:
        console.print(reflowed(description.about), markup=False, highlight=False)


def print_legend(console: Console, names: Mapping[str, str]) -> None:
    """Draw `legend`."""
    _draw(console, legend(names))


def print_words(console: Console, text: str) -> None:
    """Print sentences."""
    from dsabench.report.terminal import write

    write(console, text)


def print_plans(console: Console, found: Sequence[Estimate], whole: Total) -> None:
    """Draw `plan_table`."""
    from dsabench.report.plans import plan_table

    _draw(console, [plan_table(found, whole)])


def _draw(console: Console, tables: Sequence[Table]) -> None:
    # Tables need no console, so only drawing one imports rich.
    from dsabench.report.terminal import draw

    for table in tables:
        draw(console, table)
