"""Writes what the committed rows say: `results/*-summary.csv`, a page `results/NAME.html` for each table, and the
tables and figures of README.md, results/README.md and results/research.md.

    make results

A table stands between `<!-- table NAME: its command ... -->` and `<!-- end of table -->`; the names are those of
`benchmarks/*_tables.py`. Nothing is trained: `results/NAME.csv` are the rows of runs, made by the command that
stands beside each table. A figure is any of a page's, shown as `![](results/NAME-crowding.svg)`: its file and its words
are written here.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import crowding_tables, published_tables, research_differences, research_tables
from benchmarks.committed import RESULTS, committed, summarised
from benchmarks.pages import described, figures, pages
from dsabench.files import write_atomic
from dsabench.report.markdown import markdown
from dsabench.report.summary import summary_text

TEXTS = (RESULTS.parent / "README.md", RESULTS / "README.md", RESULTS / "research.md")
TABLES = {**published_tables.TABLES, **crowding_tables.TABLES, **research_tables.TABLES, **research_differences.TABLES}
_TABLE = re.compile(r"(<!-- table (\S+):[^>]*-->\n).*?(<!-- end of table -->)", re.DOTALL)


def filled(text: str) -> str:
    """A text with its tables and the words of its figures as the rows have it; raises KeyError for no table's name."""
    return described(_TABLE.sub(lambda found: f"{found[1]}\n{markdown(TABLES[found[2]]())}\n{found[3]}", text))


def summary_of(name: str) -> str:
    """The paired comparisons of a committed table as CSV, by the code of today."""
    table = committed(name)
    first = table.rows[0]
    return summary_text(table.comparisons, {"dataset": first.dataset, "split": first.split}, table.rows)


def texts() -> dict[Path, str]:
    """Every file that is written from the rows, with its content."""
    found = {committed(name).summary: summary_of(name) for name in summarised()}
    written = {path: filled(path.read_text(encoding="utf-8")) for path in TEXTS}
    return found | written | pages() | figures([*written.values()])


def main() -> None:
    """Write what differs."""
    for path, text in texts().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text)
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
