import re
from dataclasses import replace
from pathlib import Path

from arms import PAIR, PRIMARY, overview_rows, row

from dsabench.report import listing_table, overview_tables, paired_tables
from dsabench.report.markdown import markdown

GOLDEN = Path(__file__).parent / "golden"


def test_tables_are_the_golden_ones() -> None:
    text = "\n".join(map(markdown, [*overview_tables(overview_rows()), *paired_tables(PAIR)]))
    assert text == (GOLDEN / "tables.md").read_text(encoding="utf-8")


def test_names_stay_in_their_cell_and_are_no_markup() -> None:
    name = "a|b\n*c*[d](e)<f>`g`\\h$i$~j~_k_\x1b"
    tables = (
        *overview_tables([row(name, 0, dataset=name)]),
        *paired_tables([replace(PRIMARY, spec=name + "+dsa", against=name)]),
        listing_table(name, [{name: name}]),
    )
    for table in tables:
        text = markdown(table)
        lines = [re.sub(r"\\.", "", line) for line in text.splitlines()]
        assert {line.count("|") for line in lines if line.startswith("|")} == {len(table.columns) + 1}
        assert not re.search(r"[\[\]<>`$~_\x1b]", "".join(lines))
    assert "a\\|b \\*c\\*\\[d\\](e)\\<f\\>\\`g\\`\\\\h\\$i\\$\\~j\\~\\_k\\_?" in text


def test_a_listing_has_bold_names_and_nothing_is_a_line() -> None:
    entries = [{"name": "dsa", "summary": "label-free"}, {"name": "none"}]
    assert markdown(listing_table("regularizers", entries)) == (
        "| name | summary |\n| --- | --- |\n| **dsa** | label-free |\n| **none** |  |\n"
    )
    assert markdown(listing_table("runs", [])) == "- no runs yet\n"
