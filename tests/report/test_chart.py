import io
import math

import pytest
from arms import FAMILY, rows_of
from rich.console import Console

from dsabench.report import chart_table, log_table, print_chart
from dsabench.report.chart import onset
from dsabench.report.glyphs import BAR_WIDTH, CURVE_WIDTH, bar, sparkline
from dsabench.report.markdown import markdown
from dsabench.report.table import Arm, Bar, Curve, Number
from dsabench.report.terminal import draw
from dsabench.tables.comparisons import key_of

FALLING = {"epoch": [1, 2, 3, 4], "loss": [4.0, 3.0, 2.0, 1.0], "lr": [1, 1, 1, 1], "knn": [math.nan, 0.5, math.nan, 1]}
RISING = {"loss": [4.0, 3.0, 3.5, 3.0], "ssl": [4.0, 3.0, 2.5, 2.0], "dsa_adjust": [0.0, 0.0, 1.0, 1.0]}


def test_a_bar_is_as_long_as_its_share() -> None:
    assert bar(Bar(1.0)) == "█" * BAR_WIDTH == bar(Bar(7.0))
    assert bar(Bar(0.5)) == "█" * (BAR_WIDTH // 2)
    assert bar(Bar(0.5 + 4 / 8 / BAR_WIDTH)) == "█" * (BAR_WIDTH // 2) + "▌"
    assert bar(Bar(1e-9)) == "▏"
    assert [bar(Bar(share)) for share in (0.0, -1.0, math.nan)] == ["", "", ""]


def test_a_curve_goes_from_its_lowest_to_its_highest_value() -> None:
    assert sparkline(Curve(tuple(range(8)), 0, 7)) == "▁▂▃▄▅▆▇█"
    assert sparkline(Curve((0.0, math.nan, 1.0), 0, 1)) == "▁ █"
    assert sparkline(Curve((3.0, 3.0), 3, 3)) == "▅▅"
    assert sparkline(Curve((), 0, 1)) == ""
    long = sparkline(Curve(tuple(map(float, range(1000))), 0, 999))
    assert len(long) == CURVE_WIDTH
    assert list(long) == sorted(long)


@pytest.mark.parametrize("n", [5, 24, 60, 1000])
def test_the_mark_stands_where_something_sets_in(n: int) -> None:
    for begins in range(1, n, max(1, n // 7)):
        curve = Curve(tuple([0.0] * begins + [1.0] * (n - begins)), 0, 1, begins)
        before, after = sparkline(curve).split("╎")
        assert set(before) <= {"▁"}
        assert set(after) == {"█"}


def test_a_term_that_joins_the_loss_late_is_found() -> None:
    assert onset(RISING) == ("dsa_adjust", 2)
    assert onset(FALLING) is None
    assert onset({"loss": [0.0, 1.0]}) == ("loss", 1)
    assert onset({}) is None


def test_the_chart_has_a_value_a_bar_and_curves_on_one_scale() -> None:
    rows = [*rows_of("simclr", range(6)), *rows_of("simclr+dsa", range(6))]
    like = next(row for row in rows if row.metric == "cdnv")
    table = chart_table(like, rows, {"simclr": [FALLING, FALLING], "simclr+dsa": [RISING]})
    means = {}
    for spec, value, length, loss, last, knn, knn_last in table.sections[0].rows:
        assert isinstance(spec, Arm)
        assert isinstance(value, Number)
        assert isinstance(length, Bar)
        means[spec.spec] = value.value, length.share
        assert isinstance(loss, Curve)
        assert (loss.low, loss.high) == (1.0, 4.0)
        assert loss.begins == (2 if spec.spec == "simclr+dsa" else None)
        assert last == Number(1.0 if spec.spec == "simclr" else 3.0)
        assert (knn is None) == (knn_last is None) == (spec.spec == "simclr+dsa")
        assert knn_last in (None, Number(1.0, "%"))
    for spec, (mean, share) in means.items():
        own = [row.value for row in rows if row.spec == spec and key_of(row) == key_of(like)]
        assert mean == pytest.approx(sum(own) / 6)
        assert share == pytest.approx(mean / max(value for value, _ in means.values()))
    assert table.notes == ("from epoch 3 on the loss includes dsa_adjust (simclr+dsa)",)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [40, 80])
def test_the_chart_fits_the_terminal_and_its_encoding(encoding: str, width: int) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, color_system=None)
    log = {"loss": [5.9 - 0.05 * epoch for epoch in range(60)], "dsa_adjust": [0.0] * 18 + [0.9] * 42}
    rows = [*rows_of("barlow_twins[lambda_param=0.005]", range(2)), *rows_of("simclr+dsa", range(2))]
    rows = [row for row in rows if row.metric == "cdnv"]
    draw(console, chart_table(rows[0], rows, {"simclr+dsa": [log]}))
    file.seek(0)
    text = file.read()
    assert max(map(len, text.splitlines())) <= width
    assert ("█" * 20 if encoding == "utf-8" else "#" * 20) in text
    assert ("███▇▇▇▆╎▆▆▅" if encoding == "utf-8" else "###***+!++=") in text or width == 40


def test_a_comparison_without_logs_has_bars_alone_and_one_without_rows_nothing() -> None:
    rows = rows_of("simclr", range(2))
    like = next(row for row in rows if row.metric == "cdnv")
    table = chart_table(like, rows, {})
    assert [column.label for column in table.columns] == ["spec", "CDNV", ""]
    # A bar alone is as long as itself.
    assert table.sections[0].rows[0][2] is None
    console = Console(file=io.StringIO(), width=80)
    print_chart(console, FAMILY, [], {})
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


def test_the_log_of_a_run_is_a_line_a_term() -> None:
    table = log_table(RISING | {"wall_s": [1.0, 2.0, 3.0, 4.0], "empty": [math.nan] * 4}, "log.csv")
    assert [line[0] for line in table.sections[0].rows] == ["loss", "ssl", "dsa_adjust"]
    assert table.sections[0].rows[0][1:3] == (Number(4.0), Number(3.0))
    assert table.notes == ("from epoch 3 on the loss includes dsa_adjust",)
    assert "| loss | 4.00 | 3.00 | █" in markdown(table)
