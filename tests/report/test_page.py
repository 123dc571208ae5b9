"""The page: what it says, of sound tables and of broken ones; what came from outside stays text."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from arms import failed, overview_rows, rows_of

from dsabench.report.cells import table_csv
from dsabench.report.latex import best_cells, escaped, latex
from dsabench.report.overview import overview_tables
from dsabench.report.page.blocks import Absent, Drawing, Fold, Listing, Page, Words
from dsabench.report.page.document import page_of
from dsabench.report.page.html import html, order, spread
from dsabench.report.page.material import Material, material_of, read_searches
from dsabench.report.page.measured import forest_of, marked
from dsabench.report.page.opening import failures
from dsabench.report.page.origin import command
from dsabench.report.page.tables import as_latex, tables_of
from dsabench.report.page.tradeoffs import crowding, tradeoff_of
from dsabench.report.table import Arm, Column, Interval, Mean, Section, Table
from dsabench.tables.criteria import GUARDS, Criteria, parse_guard, parse_primary
from dsabench.tables.rows import Row, write_csv

CRITERIA = Criteria(parse_primary("cdnv"), tuple(map(parse_guard, GUARDS)))
SECTIONS = [
    "Results",
    "Paired differences",
    "Crowding against accuracy",
    "Learning curves",
    "Who crowds whom",
    "The same test images under both arms",
    "Pairs taken for similar",
    "Images that changed sides",
    "Cost",
    "Provenance and limits",
]


class Reader(HTMLParser):
    """What a browser would make of a page: its tags, its ids, the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.inside = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.text += f"{data} "

    def count(self, tag: str) -> int:
        return sum(one == tag for one, _ in self.tags)


def material(rows: list[Row], **changes: object) -> Material:
    return replace(Material("made", "made: digits", "results/made.csv", tuple(rows), CRITERIA), **changes)  # type: ignore[arg-type]


def page(rows: list[Row]) -> Page:
    return page_of([(material(rows), None)])


@pytest.fixture(scope="module")
def whole() -> Reader:
    return Reader(html(page(overview_rows())))


def test_it_opens_with_the_finding_and_what_it_rests_on(whole: Reader) -> None:
    words = " ".join(whole.text.split())
    assert words.index("3 regularized arms against their own plain methods on CDNV") < words.index("primary metric")
    assert "byol+dsa: 2 runs failed" in words
    assert "vicreg: 1 run failed" in words
    assert "kNN (k=20): must not have fallen by more than 1 point" in words
    # Rows may come from other hours of the machine: the table of costs says so, and no sentence compares them.
    assert "times as long" not in words
    assert "ratios of medians, of runs from different hours" in words


def test_the_sections_stand_in_order_and_one_says_what_the_runs_would_show() -> None:
    (chapter,) = page(overview_rows()).chapters
    titles = [section.title for section in chapter.sections]
    assert titles == [*SECTIONS[:3], "What the runs would show", *SECTIONS[8:]]
    (why,) = chapter.sections[3].blocks
    assert isinstance(why, Absent)
    assert all(title[1:] in why.why for title in SECTIONS[3:8])
    assert why.command == "dsabench report results/made.csv --from RUNS"


def test_one_file_without_a_network(whole: Reader) -> None:
    for tag, attributes in whole.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:")) or not value, (tag, value)
    policies = [a["content"] for t, a in whole.tags if t == "meta" and "http-equiv" in a]
    assert policies
    assert str(policies[0]).startswith("default-src 'none'")


def test_ids_are_unique_and_figures_described(whole: Reader) -> None:
    ids = [attributes["id"] for _, attributes in whole.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    figures = [a for tag, a in whole.tags if tag == "svg"]
    assert whole.count("figure") == len(figures) >= 5
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 40 for a in figures)


def test_floors_ceilings_and_labels_are_marked(whole: Reader) -> None:
    for word in ("floor: untrained", "ceiling: trained with labels", "†", "Not self-supervised"):
        assert word in whole.text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "m" * 80, "a&b", "x'\"y", "日本"])
def test_names_from_outside_stay_text(name: str) -> None:
    rows = [replace(one, method=name, dataset=name) for one in rows_of("simclr", range(2))]
    found = Reader(html(page([*rows, *rows_of("byol", range(2))])))
    assert found.count("script") == 1
    shown = found.text.replace(" ", "")
    assert name.replace(" ", "") in shown


def test_a_table_of_one_arm_says_that_nothing_was_compared() -> None:
    text = Reader(html(page(rows_of("simclr", range(6))))).text
    assert "Nothing was compared: no two of the specs have finished runs." in text


def test_one_seed_compares_and_says_that_it_can_show_nothing() -> None:
    text = Reader(html(page([*rows_of("simclr", [0]), *rows_of("simclr+dsa", [0])]))).text
    assert "1 seed" in text
    assert "no paired test can reach p < .05" in text


def test_seventeen_arms_with_failed_runs_and_undefined_values() -> None:
    rows = [one for place in range(17) for one in rows_of(f"m{place}" + "+dsa" * (place % 2), range(3))]
    rows += [failed("lost", seed) for seed in range(3)]
    rows = [replace(one, value=float("nan")) if (one.method, one.metric) == ("m3", "cdnv") else one for one in rows]
    rows = [
        replace(one, value=None, status="undefined") if (one.method, one.metric) == ("m4", "silhouette") else one
        for one in rows
    ]
    made = material(rows)
    assert failures(made) == "lost: 3 runs failed; m4: 3 values not defined"
    text = html(page(rows))
    assert all(f"m{place}" in text for place in range(17))
    drawn = tradeoff_of(made, made.primary_key, made.criteria.guards[0].choice.among(made.directions, "backbone"))  # type: ignore[arg-type]
    assert "m3+dsa" not in [point.spec for point in drawn.points]


def test_nothing_but_failures_is_a_page_too() -> None:
    text = Reader(html(page([failed("simclr", 0), failed("simclr+dsa", 0)]))).text
    assert "simclr: 1 run failed; simclr+dsa: 1 run failed" in text


def test_a_forest_is_relative_to_the_baseline_and_guards_in_points() -> None:
    made = material([*rows_of("simclr", range(6)), *rows_of("simclr+dsa", range(6))])
    key = made.primary_key
    assert key is not None
    known = [one for one in made.comparisons if one.key == key]
    content = forest_of(made, key, known, None)
    (line,) = content.lines
    assert line.mean == pytest.approx(100 * known[0].difference / known[0].mean_against)
    assert line.seeds == pytest.approx([line.mean] * 6)
    assert (content.band, content.higher_is_better) == ((-5.0, 5.0), False)
    guard = made.criteria.guards[0]
    key = guard.choice.among(made.directions, "backbone")
    assert key is not None
    content = forest_of(made, key, [one for one in made.comparisons if one.key == key], guard.margin)
    assert content.band == (-1.0, 0.0)
    assert (content.lines[0].mean, content.lines[0].word) == (pytest.approx(1.0), "held")


def test_arrows_lead_from_a_plain_method_to_its_regularized_arms() -> None:
    (drawing,) = (block for block in crowding(material(overview_rows())).blocks if isinstance(block, Drawing))
    content = drawing.draw.args[0]  # type: ignore[attr-defined]
    pairs = [(name, f"{name}+dsa") for name in ("simclr", "byol", "barlow_twins")]
    assert list(content.arrows) == pairs
    assert [point.spec for point in content.points][:2] == ["simclr", "simclr+dsa"]
    assert [point.spec for point in content.outside] == ["random"]


def test_the_command_makes_the_same_comparison_again() -> None:
    made = material([*rows_of("simclr", range(6)), *rows_of("simclr+dsa[lambda1=2]", range(6))])
    words = command(made)
    assert words.startswith("dsabench compare simclr 'simclr+dsa[lambda1=2]' --seeds 0-5 --dataset digits")
    assert "--epochs 60 --primary cdnv --guard knn" in words


def test_several_tables_stand_side_by_side() -> None:
    rows = [*rows_of("simclr", range(6)), *rows_of("simclr+dsa", range(6))]
    pair = [
        material(rows),
        material([replace(one, dataset="cifar") for one in rows], name="other", title="other: cifar"),
    ]
    text = Reader(html(page_of([(one, None) for one in pair])))
    assert "Side by side: CDNV" in text.text
    assert text.count("article") == 2
    ids = [attributes["id"] for _, attributes in text.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_cells_sort_by_their_numbers() -> None:
    assert (order(Mean(0.5, 0.1, 6, "%")), order(None), order(Mean(float("nan"), None, 1))) == ("0.5", "", "")
    assert order(Interval(1.0, 2.0, "", 1.0)) == "1.5"
    assert order(Interval(float("-inf"), 2.0, "", 1.0)) == ""
    # 2.571 is Student's t at 97.5% with 5 degrees of freedom.
    assert spread(Mean(10.0, 6**0.5, 6)) == "7.43 to 12.6"


def test_an_interval_of_an_accuracy_ends_where_accuracies_do_and_the_table_says_so() -> None:
    assert spread(Mean(0.995, 0.01, 6, "%")) == "98.5 to 100.0"
    assert spread(Mean(0.005, 0.01, 6, "%")) == ".0 to 1.5"

    def notes(deviation: float | None) -> tuple[str, ...]:
        cells = (Arm("simclr"), Mean(0.99, deviation, 6, "%"))
        columns = (Column("spec", "text"), Column("kNN", "mean", "%"))
        return marked(Table("", columns, (Section((cells,)),)), "backbone").notes

    assert notes(None) == ()
    assert notes(0.001) == ("small: Student's 95% interval over seeds",)
    assert notes(0.1) == ("small: Student's 95% interval over seeds, cut off at 0 and 100%",)


def test_trials_beside_a_table_become_a_budget(tmp_path: Path) -> None:
    write_csv([*rows_of("simclr", range(2)), *rows_of("simclr+dsa", range(2))], tmp_path / "t.csv")
    (tmp_path / "t-trials.csv").write_text("arm,trial,value\nsimclr,0,0.5\nsimclr,1,\nbyol,0,0.75\n")
    first, second = material_of(tmp_path / "t.csv", CRITERIA).searches
    assert (first.arm, first.values, second.values) == ("simclr", (0.5, None), (0.75,))
    # Of two draws from 0.5 and 0, three in four hold 0.5.
    assert first.expected() == {1: 0.25, 2: pytest.approx(0.375)}
    assert read_searches(tmp_path / "nothing") == ()
    names = [one.name for one in page_of([(material_of(tmp_path / "t.csv", CRITERIA), None)]).drawings()]
    assert "t-crowding-budget" in names
    assert "t-crowding-front" not in names


def test_trials_whose_crowding_was_measured_become_a_front(tmp_path: Path) -> None:
    write_csv([*rows_of("simclr", range(2)), *rows_of("simclr+dsa", range(2))], tmp_path / "t.csv")
    lines = ["arm,trial,value,cdnv", "simclr,0,0.5,0.2", "simclr,1,,", "simclr,2,0.4,0.3", "byol,0,0.75,"]
    (tmp_path / "t-trials.csv").write_text("\n".join(lines) + "\n")
    made = material_of(tmp_path / "t.csv", CRITERIA)
    assert [one.points() for one in made.searches] == [((0.2, 0.5), (0.3, 0.4)), ()]
    front = next(one for one in page_of([(made, None)]).drawings() if one.name == "t-crowding-front")
    assert front.alt.endswith("no other of the arm surpasses: simclr (0.2, 50.0%).")


def test_latex_escapes_and_bolds_where_a_verdict_allows() -> None:
    made = material([*rows_of("simclr", range(6)), *rows_of("simclr+dsa", range(6))])
    (table,) = overview_tables(made.rows)
    assert best_cells(table, {("simclr+dsa", "simclr")}, "CDNV") == {(1, 2)}
    # It was shown to beat none of them.
    assert best_cells(table, set(), "CDNV") == set()
    assert best_cells(table, {("simclr+dsa", "simclr")}, "RankMe") == set()
    text = latex(table, bold={(1, 2)})
    assert re.search(r"simclr\+dsa & 6 & \\textbf\{\.148\$\\pm\$\.007\}", text)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert escaped("a_b & 50% ↑ \\") == r"a\_b \& 50\% $\uparrow$ \textbackslash{}"
    assert r"\textbf" in as_latex(made)


def test_csv_tables_hold_whole_numbers() -> None:
    (table,) = overview_tables([*rows_of("simclr", range(2))])
    header, line = table_csv(table).splitlines()
    assert header.startswith("spec,labels used,remarks,n,CDNV,CDNV std,CDNV n,")
    assert line.startswith("simclr,false,,2,0.168,0.0028284")
    assert all(table_csv(table).count("\n") > 1 for table in tables_of(material(overview_rows())))


def test_the_opening_tells_options_once() -> None:
    arms = ("byol[lr=0.003]", "byol[lr=0.004]+dsa[k=27]")
    (chapter,) = page([one for arm in arms for one in rows_of(arm, range(6))]).chapters
    words, explained, _ = chapter.opening
    assert isinstance(words, Words)
    assert words.text.startswith("byol+dsa lowers cdnv against byol by ")
    assert explained == Listing((f"byol: {arms[0]}", f"byol+dsa: {arms[1]}"))
    (plain,) = page([one for arm in ("byol", "byol+dsa") for one in rows_of(arm, range(6))]).chapters
    assert plain.opening[0] == words
    assert len(plain.opening) == 2
    # Below several sentences, and folded as they are.
    (several,) = page([one for arm in (*arms, "simclr") for one in rows_of(arm, range(6))]).chapters
    (fold,) = [block for block in several.opening if isinstance(block, Fold)]
    sentences, told = fold.blocks
    assert isinstance(sentences, Listing)
    assert (len(sentences.lines), told) == (2, explained)
