"""Everything that is published stands in the committed rows: no text and no summary says anything else."""

import re
import tomllib
from pathlib import Path

import pytest

from benchmarks.committed import committed, summarised
from benchmarks.results import RESULTS, TABLES, TEXTS, filled, summary_of
from dsabench.report.table import Mean
from dsabench.report.wording import written

AGAIN = "the committed rows say otherwise; run: make results"


@pytest.mark.parametrize("path", TEXTS, ids=["README.md", "results/README.md", "results/research.md"])
def test_the_tables_of_the_texts_are_those_of_the_rows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert filled(text) == text, AGAIN


def test_every_table_stands_somewhere() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in TEXTS)
    named = re.findall(r"^<!-- table (\S+): (?:dsabench|python -m benchmarks\.)", texts, re.MULTILINE)
    assert sorted(named) == sorted(TABLES)
    assert texts.count("<!-- table ") == texts.count("<!-- end of table -->") == len(TABLES)


@pytest.mark.parametrize("name", summarised())
def test_the_summaries_are_what_this_version_says_of_the_rows(name: str) -> None:
    assert (RESULTS / f"{name}-summary.csv").read_text(encoding="utf-8") == summary_of(name), AGAIN


def test_a_table_is_replaced_and_the_prose_around_it_stays() -> None:
    text = "before\n<!-- table cifar10-jpeg: its command -->\nold\n<!-- end of table -->\nafter 47.2\n"
    new = filled(text)
    assert new.startswith("before\n<!-- table cifar10-jpeg: its command -->\n\n|  | CDNV ↓ |")
    assert new.endswith("|\n\n<!-- end of table -->\nafter 47.2\n")
    assert "old" not in new
    assert filled(new) == new
    with pytest.raises(KeyError, match="nothing-such"):
        filled(text.replace("cifar10-jpeg", "nothing-such"))


def test_a_cell_is_the_mean_of_its_rows() -> None:
    table = committed("digits")
    values = [row.value for row in table.rows if (row.spec, row.metric, row.layer) == ("simclr", "cdnv", "backbone")]
    assert len(values) == 6
    assert table.mean("simclr", "CDNV") == Mean(0.23693914970827734, 0.009626093449841867, 6)
    # As the summary has it, which comes from the comparison.
    effect = table.effect("simclr+dsa-nested", "simclr", "CDNV")
    assert written(effect.before) == written(table.mean("simclr", "CDNV")).partition("±")[0]


def test_every_section_of_results_begins_with_its_answer() -> None:
    """A line in bold below each heading, but for those that say where things are and what columns mean."""
    sections = re.split(r"^##+ ", (RESULTS / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    silent = [body.splitlines()[0] for body in sections if not body.split("\n\n")[1].startswith("**")]
    assert silent == ["What was found, and where", "The columns of `NAME.csv`", "The columns of `NAME-summary.csv`"]


def test_configurations_are_of_no_one_machine() -> None:
    root = Path(__file__).parents[2]
    configs = [*root.glob("results/*.toml"), *root.glob("benchmarks/**/*.toml")]
    assert len(configs) > 5
    for path in configs:
        values = [value for value in tomllib.loads(path.read_text()).values() if isinstance(value, str)]
        assert not [value for value in values if Path(value).is_absolute()], path
