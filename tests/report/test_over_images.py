"""Single models over test images, as tables and as sentences."""

import csv
import math
from pathlib import Path

from arms import MEASURED

from dsabench.report import model_findings, model_tables, write_model_summary
from dsabench.report.markdown import markdown
from dsabench.stats import MetricKey
from dsabench.stats.weights import ImageComparison

CDNV = MetricKey("backbone", "crowding", "{}", "cdnv")
KNN = MetricKey("backbone", MEASURED[5][0], MEASURED[5][1], "accuracy")


def compared(low: float | None = -0.06, high: float | None = -0.04) -> list[ImageComparison]:
    return [
        ImageComparison("vit", "resnet", CDNV, False, 0.17, 0.12, 10_000, low, high, primary=True),
        ImageComparison("vit", "resnet", KNN, True, 0.981, 0.985, 10_000, -0.001, 0.009),
        ImageComparison("vit", "resnet", CDNV._replace(metric="rankme"), None, 20.0, 21.0, 10_000),
    ]


def test_a_table_has_a_line_a_metric_and_says_what_its_intervals_are_over() -> None:
    (table,) = model_tables(compared())
    text = markdown(table)
    assert table.title == "vit against resnet: one model each"
    assert "| CDNV ↓ | .170 | .120 | -.050 | -.060 to -.040 |" in text.replace("**", "")
    assert "| kNN (k=20) % ↑ | 98.1 | 98.5 | +.4 | -.1 to +.9 |" in text
    assert "10,000 test images, drawn class by class and for both alike" in text
    assert "no interval: neither stored answers nor the moments" in text


def test_the_sentence_speaks_of_these_weights() -> None:
    ending = "This speaks of these weights and not of the method: another seed is another model."
    assert model_findings(compared()) == (
        "vit has a lower CDNV than resnet by .050 (.170 -> .120; 95% interval over 10,000 test images -.060 to "
        f"-.040).\n{ending}"
    )
    assert "a difference is not shown" in model_findings(compared(-0.06, 0.01))
    assert "a difference is not shown" in model_findings(compared(-math.inf, math.inf))
    assert "no images are at hand" in model_findings(compared(None, None))
    assert model_findings(compared()[1:]) == ""


def test_the_summary_has_every_field(tmp_path: Path) -> None:
    write_model_summary(compared(), tmp_path / "s.csv", extra={"dataset": "digits"})
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    first = [rows[0][name] for name in ("dataset", "metric", "n", "primary")]
    assert first == ["digits", "cdnv", "10000", "true"]
    assert float(rows[0]["difference"]) == 0.12 - 0.17
    assert rows[2]["low"] == ""
