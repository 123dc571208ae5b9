"""`dsabench open`: a report in the browser, or where it lies."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from dsabench.cli import flags
from dsabench.cli.groups import grouped
from dsabench.errors import DataError


@grouped
def open_report(
    name: Annotated[str, typer.Argument(help="A table, NAME or NAME.csv; or a run of one, by id or folder.")],
    runs: flags.Runs = Path("runs"),
    debug: flags.Debug = False,
) -> None:
    """Open the report of a table, or of the tables in results/ that a run stands in: dsabench open results/demo

    Its path is printed; a browser shows it where there is one.
    """
    page = report_of(name, runs).resolve()
    print(page)
    try:
        webbrowser.open(page.as_uri())
    except webbrowser.Error:
        # The path says it all.
        return


def report_of(name: str, runs: Path) -> Path:
    """The page beside a table, or beside the newest table with a run; raises DataError, which says how to make it."""
    plain = name.removesuffix(".html").removesuffix(".csv")
    table = Path(f"{plain}.csv")
    if (page := Path(f"{plain}.html")).is_file():
        return page
    if table.is_file():
        raise DataError(f"{table} has no report yet; make it with: dsabench report {table}")
    from dsabench.training.store import Store

    run = Store(runs).find(name)
    tables = [path for path in Path("results").glob("*.csv") if run.config.run_id in path.read_text(encoding="utf-8")]
    pages = [page for path in tables if (page := path.with_name(f"{path.stem}.html")).is_file()]
    if not pages:
        which = tables[0] if tables else f"--from {runs}"
        raise DataError(f"{run.config.label} is in no report yet; make one with: dsabench report {which}")
    return max(pages, key=lambda path: path.stat().st_mtime)
