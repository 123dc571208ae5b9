"""Every kind of run says in its rows how it was trained."""

from pathlib import Path

import pytest
from command import TINY, dsabench

from dsabench.tables.rows import read_csv


def test_rows_of_finished_untrained_and_failed_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arms = ("simclr[lr=0.01]", "random", "byol[lr=1e30]")
    result = dsabench(
        "compare", *arms, *TINY, "--train-images", 200, "--seeds", "0", "--probe", "knn", "--jobs", 1, "--output", "t"
    )
    assert result.code == 1, result.err
    rows = read_csv(tmp_path / "t.csv")
    said = {(row.spec, row.status, row.batch_size, row.train_images, row.image_size, row.lr) for row in rows}
    assert said == {
        ("simclr[lr=0.01]", "ok", 64, 200, 8, 0.01),
        ("random", "ok", 64, 200, 8, None),
        ("byol[lr=1e+30]", "failed", 64, 200, 8, 1e30),
    }
