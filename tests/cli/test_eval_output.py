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
