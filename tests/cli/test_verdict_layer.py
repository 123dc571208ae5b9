"""Which layer carries the verdict of `compare`, and what it writes over."""

import csv
import json
from pathlib import Path

import pytest
from command import TINY, Result, dsabench

ARMS = ("compare", "simclr", "byol", *TINY, "--seeds", "0-1", "--probe", "knn", "--jobs", 1, "--output", "t", "-q")


def ok(result: Result) -> Result:
    assert result.code == 0, result.err
    return result


def primary(summary: Path) -> tuple[str, str]:
    (row,) = (row for row in csv.DictReader(summary.read_text().splitlines()) if row["role"] == "primary")
    return row["layer"], row["metric"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comparisons")


def test_the_order_of_layers_decides_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    layers = (("--layer", "backbone", "--layer", "projector"), ("--layer", "projector", "--layer", "backbone"))
    said = [json.loads(ok(dsabench(*ARMS, *order, "--json")).out) for order in layers]
    # A run that was there already says nothing of what it costs.
    findings = [one["finding"].partition(" A run takes")[0] for one in said]
    assert findings[0] == findings[1]
    assert primary(folder / "t-summary.csv") == ("backbone", "cdnv")
    declared = [json.loads(path.read_text())["layer"] for path in folder.glob("runs/declarations/*.json")]
    assert declared == ["backbone"]
    # Said, it is another, which is a departure from what was declared.
    result = ok(dsabench(*ARMS, *layers[0], "--primary", "cdnv@projector"))
    assert primary(folder / "t-summary.csv") == ("projector", "cdnv")
    assert "Layer changed from backbone to projector after looking" in result.out
    refused = dsabench(*ARMS, "--layer", "projector")
    assert refused.code == 2
    assert "the verdict is on the layer backbone, and --layer asks for projector alone" in refused.err


def test_a_table_of_more_is_written_over_only_when_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    ok(dsabench(*ARMS, "--overwrite", "tables"))
    before = (folder / "t.csv").read_bytes()
    fewer = [word if word != "0-1" else "0" for word in map(str, ARMS)]
    refused = dsabench(*fewer)
    assert (refused.code, refused.out) == (2, "")
    assert (
        "t.csv is there and has what the new table will not: the seed 1 (its seeds are 0, 1); name another --output"
        in refused.err
    )
    assert (folder / "t.csv").read_bytes() == before
    # The runs are as they were, the table is not.
    trained = {path: path.stat().st_mtime_ns for path in folder.glob("runs/**/*.safetensors")}
    assert dsabench(*fewer, "--overwrite", "tables").code == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("runs/**/*.safetensors")} == trained
    assert {row["seed"] for row in csv.DictReader((folder / "t.csv").read_text().splitlines())} == {"0"}
    # More seeds than before lose nothing.
    ok(dsabench(*ARMS))
