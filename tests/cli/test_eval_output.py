"""`eval --output` replaces a table of the same, and no other without a word."""

from pathlib import Path

import numpy as np
from command import dsabench

from dsabench.tables.rows import read_csv


def test_a_table_of_something_else_is_kept_and_the_values_are_printed(tmp_path: Path) -> None:
    y = np.arange(60) % 3
    x = np.eye(3)[y] + np.random.default_rng(0).normal(0, 0.1, (60, 3))
    np.savez(tmp_path / "mine.npz", x=x.astype(np.float32), y=y)
    table = tmp_path / "rows.csv"
    shared = ("eval", "--features", tmp_path / "mine.npz", "--output", table)
    assert dsabench(*shared, "--probe", "cdnv", "--probe", "knn5").code == 0
    before = table.read_bytes()

    less = dsabench(*shared, "--probe", "cdnv")
    assert less.code == 2
    assert "has what the new table will not: the probe knn" in less.err
    assert "CDNV" in less.out
    assert table.read_bytes() == before

    assert dsabench(*shared, "--probe", "cdnv", "--probe", "knn5").code == 0
    assert dsabench(*shared, "--probe", "cdnv", "--overwrite", "tables").code == 0
    assert {row.metric for row in read_csv(table)} == {"cdnv"}
    wrong = dsabench(*shared, "--overwrite", "tabels")
    assert wrong.code == 2
    assert "tables" in wrong.err


def test_several_models_stand_side_by_side(tmp_path: Path) -> None:
    y = np.arange(60) % 3
    files = []
    for name, spread in (("tight", 0.1), ("wide", 1.0)):
        x = np.eye(3)[y] + np.random.default_rng(0).normal(0, spread, (60, 3))
        np.savez(tmp_path / f"{name}.npz", x=x.astype(np.float32), y=y)
        files += ["--features", tmp_path / f"{name}.npz"]
    result = dsabench("eval", *files, "--probe", "cdnv", "--probe", "knn5")
    assert result.code == 0
    title, *lines = [line.split() for line in result.out.splitlines() if line.strip()]
    assert " ".join(title) == "embeddings, test split"
    assert lines[0] == ["metric", "layer", "tight", "wide"]
    assert [line[0] for line in lines if "backbone" in line] == ["CDNV", "5-NN"]
    assert all(len(line[line.index("backbone") :]) == 3 for line in lines if "backbone" in line)
    assert "embeddings; ↑ higher" in result.out
    assert "tight: run " in result.out
