"""The committed pages and figures are those of the committed rows: compared in all that they say, not drawn anew."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from markupsafe import Markup

from benchmarks.committed import RESULTS
from benchmarks.pages import described, drawings, page, paged, shown
from dsabench.files import sha256_file
from dsabench.report.page.blocks import Drawing
from dsabench.report.page.html import html

AGAIN = "the committed rows say otherwise; run: make results"
MEGABYTES, ALL_MEGABYTES = 1.2, 5.0


def test_each_table_has_its_page_and_no_page_is_of_a_table_that_went() -> None:
    assert {path.stem for path in RESULTS.glob("*.html")} == set(paged())
    assert len(paged()) >= 10
    assert "digits-tuned" in paged()
    assert not {"calibration", "digits-summary", "digits-tuned-trials", "digits-tuned-budget"} & set(paged())


def test_pages_are_small() -> None:
    sizes = [path.stat().st_size / 1e6 for path in RESULTS.glob("*.html")]
    assert max(sizes) < MEGABYTES
    assert sum(sizes) < ALL_MEGABYTES


@pytest.mark.parametrize("name", paged())
def test_a_page_says_what_its_rows_say(name: str) -> None:
    text = (RESULTS / f"{name}.html").read_text(encoding="utf-8")
    assert sha256_file(RESULTS / f"{name}.csv") in text, AGAIN
    assert undrawn(text) == html(page(name), words_alone), AGAIN


def test_a_page_is_drawn_to_the_same_bytes() -> None:
    pinned = re.search(r"^matplotlib==(.+)$", (RESULTS.parent / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    if version("matplotlib") != pinned[1]:
        pytest.skip(f"the pages were drawn with matplotlib {pinned[1]}")
    assert (RESULTS / "digits-pixels.html").read_text(encoding="utf-8") == html(page("digits-pixels")), AGAIN


@pytest.mark.parametrize(
    "path", [RESULTS.parent / "README.md", RESULTS / "README.md"], ids=["README.md", "results/README.md"]
)
def test_the_figures_of_the_texts_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert shown(text)
    for picture in re.findall(r"\]\(([^)]+\.(?:svg|png))\)", text):
        assert (path.parent / picture).stat().st_size < 300_000
    # Letters are outlines, and the ground is white, wherever the image stands.
    for name in shown(text):
        figure = (RESULTS / f"{name}.svg").read_text(encoding="utf-8")
        assert "<text" not in figure
        assert "fill: #ffffff" in figure


def test_a_figure_is_described_in_the_text_and_others_are_left() -> None:
    new = described("![](results/digits-crowding.svg) ![mine](results/toy-digits.svg)")
    assert "simclr+dsa-nested (0.131, 99.0%)" in new
    assert "barlow\\_twins" in new
    assert new.endswith("![mine](results/toy-digits.svg)")
    assert described(new) == new
    assert {"digits-crowding", "digits-tuned-crowding-budget"} <= drawings().keys()


def words_alone(drawing: Drawing) -> Markup:
    return Markup('<svg aria-label="{}"></svg>').format(drawing.alt)


def undrawn(text: str) -> str:
    """A page with the words of its figures and without the figures."""
    return re.sub(r'<svg [^>]*(aria-label="[^"]*")[^>]*>.*?</svg>', r"<svg \1></svg>", text, flags=re.DOTALL)
