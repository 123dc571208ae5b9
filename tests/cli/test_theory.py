"""`dsabench theory`: the bounds of a run, and correlations over a table and over a store."""

import csv
import math
from pathlib import Path

import pytest
from command import TINY, dsabench

RESULTS = Path(__file__).parents[2] / "results"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_bounds_of_a_run_hold_and_repeat(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    done = dsabench("pretrain", "--method", "random", *TINY, "--runs", runs, "-q")
    assert done.code == 0, done.err
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    for output in (first, second):
        done = dsabench("theory", "--from", runs, "--output", output)
        assert done.code == 0, done.err
    assert first.read_bytes() == second.read_bytes()
    rows = {row["bound"]: row for row in table(first)}
    assert list(rows) == ["mean classifier", "CDNV", "directional CDNV", "1 shot", "5 shots"]
    for row in rows.values():
        assert row["holds"] == "true"
        assert float(row["lower"]) <= float(row["risk"]) <= float(row["upper"])
        assert float(row["risk_low"]) <= float(row["risk"]) <= float(row["risk_high"])
        assert row["n"] == "64"
    assert rows["CDNV"]["risk"] == rows["directional CDNV"]["risk"]
    assert float(rows["1 shot"]["risk"]) > float(rows["CDNV"]["risk"])
    assert math.isinf(float(rows["CDNV"]["lower"]))
    assert "upper / risk" in done.out
    alone = dsabench("theory", "--from", runs, "--correlations")
    assert alone.code == 5
    assert "need two runs" in alone.err


def test_correlations_of_a_table(tmp_path: Path) -> None:
    output = tmp_path / "c.csv"
    done = dsabench("theory", "--correlations", "--table", RESULTS / "digits.csv", "--output", output)
    assert done.code == 0, done.err
    assert "what ranks runs as kNN" in done.out
    rows = {(row["metric"], row["probe"], row["probe_params"], row["kind"]): row for row in table(output)}
    (knn,) = {key[2] for key in rows if key[1] == "knn"}
    over = rows["cdnv", "knn", knn, "over"]
    assert float(over["rho"]) < -0.5
    assert float(over["low"]) <= float(over["rho"]) <= float(over["high"])
    assert over["specs"] == "8"


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--split", "tset"), "unknown split"), (("--table", "x.csv"), "add --correlations"), ((), "no finished run")],
)
def test_what_cannot_be_is_refused(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = dsabench("theory", "--from", tmp_path, *words)
    assert done.code in (2, 5)
    assert message in done.err
