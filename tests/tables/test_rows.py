import csv
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spelled import dsa

from dsabench.errors import DataError
from dsabench.files import canonical_json
from dsabench.tables.rows import (
    COLUMNS,
    KEY,
    SCHEMA_VERSION,
    Row,
    check_unique,
    comparable,
    csv_text,
    read_csv,
    write_csv,
)

GOLDEN = Path(__file__).parent / "golden" / "results.csv"
PROMISED = (
    "schema_version, run_id, method, regularizer, backbone, seed, dataset, dataset_sha256, split, n, layer, probe, "
    "probe_version, probe_params, metric, value, higher_is_better, status, epochs, images_seen, wall_s, images_per_s, "
    "peak_mem_mb, config_hash, git_sha, git_dirty, dsabench_version, torch_version, device, n_devices, precision, "
    "threads, deterministic, augment, prior, labels_used, started_utc, capability, blas, eval_device, trained_on, "
    "preprocess, tuning, batch_size, train_images, image_size, lr, "
    "similar_precision, note, spec"
)
ROW = Row(
    schema_version=SCHEMA_VERSION,
    run_id="0123456789ab",
    method="simclr",
    regularizer="dsa[lambda1=5]",
    backbone="resnet-small",
    seed=3,
    dataset="digits",
    dataset_sha256="d" * 64,
    split="test",
    n=359,
    layer="backbone",
    probe="fewshot",
    probe_version="1",
    probe_params='{"classifier":"centroid","shots":1}',
    metric="accuracy",
    value=0.1 + 0.2,
    higher_is_better=True,
    status="ok",
    epochs=60,
    images_seen=77_580,
    wall_s=61.25,
    images_per_s=1266.6,
    peak_mem_mb=None,
    config_hash="0123456789ab" + "c" * 52,
    git_sha="f" * 40,
    git_dirty=False,
    dsabench_version="0.1.0",
    torch_version="2.11.0+cpu",
    device="cpu",
    n_devices=1,
    precision="32",
    threads=1,
    deterministic=True,
    augment="batched",
    prior="self",
    labels_used="none",
    started_utc="2025-01-02T03:04:05Z",
    capability="AVX2",
    blas="MKL 2024.2, oneDNN 3.7.1",
    eval_device="cpu (EPYC) AVX2, 1 thread",
    trained_on="digits",
    preprocess='{"image_size":8}',
    tuning="defaults",
    batch_size=256,
    train_images=1294,
    image_size=8,
    lr=0.002,
    similar_precision=0.875,
)
FAILED = replace(
    ROW, run_id="ba9876543210", regularizer="none", n=None, layer="", probe="", probe_version="", probe_params="",
    metric="", value=None, higher_is_better=None, status="failed", wall_s=None, images_per_s=None,
)  # fmt: skip
AWKWARD = replace(
    ROW, backbone="=cmd()", device='a "quoted", thing\nwith lines', precision="'-x", prior="-1", split="\tx",
    git_sha="Größe", value=math.inf, wall_s=-0.0, images_per_s=5e-324, git_dirty=None, higher_is_better=None,
)  # fmt: skip


def _strategy(name: str, kind: object) -> st.SearchStrategy[object]:
    risky = st.tuples(st.text("'=+-@\t\r", max_size=3), st.text(max_size=5)).map("".join)
    bases: dict[object, st.SearchStrategy[object]] = {
        str: st.text() | risky, int: st.integers(), float: st.floats(allow_nan=False), bool: st.booleans(),
    }  # fmt: skip
    bases |= {base | None: st.none() | strategy for base, strategy in bases.items() if isinstance(base, type)}
    return st.just(SCHEMA_VERSION) if name == "schema_version" else bases[kind]


ROWS = st.builds(Row, **{name: _strategy(name, kind) for name, kind in get_type_hints(Row).items()})


def test_columns_are_the_promised_ones_in_order() -> None:
    assert ", ".join(COLUMNS) == PROMISED
    assert set(KEY) < set(COLUMNS)


def test_csv_is_the_golden_file_to_the_byte(tmp_path: Path) -> None:
    rows = [ROW, FAILED, AWKWARD]
    write_csv(rows, tmp_path / "results.csv")
    assert (tmp_path / "results.csv").read_bytes() == GOLDEN.read_bytes()
    assert read_csv(GOLDEN) == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(rows=st.lists(ROWS, max_size=3))
def test_csv_round_trips_exactly(tmp_path: Path, rows: list[Row]) -> None:
    path = tmp_path / "rows.csv"
    write_csv(rows, path)
    assert read_csv(path) == rows


def test_nan_is_a_value_and_a_missing_value_is_not(tmp_path: Path) -> None:
    write_csv([replace(ROW, value=math.nan), replace(ROW, value=None)], tmp_path / "rows.csv")
    nan, none = read_csv(tmp_path / "rows.csv")
    assert nan.value is not None
    assert math.isnan(nan.value)
    assert none.value is None


def test_no_cell_can_run_as_a_formula(tmp_path: Path) -> None:
    write_csv(
        [replace(ROW, **{name: "=1+1" for name, kind in get_type_hints(Row).items() if kind is str})], tmp_path / "x"
    )
    cells = (tmp_path / "x").read_text().splitlines()[1].split(",")
    assert "'=1+1" in cells
    assert not any(cell.startswith("=") for cell in cells)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema_version,run_id", "schema_version,run", "missing: run_id; unexpected: run"),
        ("run_id,method", "method,run_id", "another order"),
        ("\n8,", "\n9,", "schema_version 9, this dsabench reads 2 to 8"),
        (",true,ok,", ",TRUE,ok,", "row 1: higher_is_better cannot be 'TRUE'"),
        (",0.30000000000000004,", ",0.3O,", "row 1: value cannot be '0.3O'"),
        (",resnet-small,3,", ",resnet-small,,", "row 1: seed cannot be ''"),
        (",resnet-small,3,", ",resnet-small,", "row 1 has 49 cells instead of 50"),
        (",simclr+dsa[lambda1=5]", ",simclr", r"row 1: spec cannot be 'simclr' of simclr\+dsa\[lambda1=5\]"),
        ('"{""classifier', '"{"classifier', "no table of dsabench"),
    ],
)
def test_read_csv_says_what_differs(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "rows.csv"
    write_csv([ROW], path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        read_csv(path)
    assert str(path) in str(caught.value)


def test_a_table_of_schema_2_is_read_with_what_came_later_empty(tmp_path: Path) -> None:
    # The published tables are of that schema.
    rows = read_csv(Path(__file__).parents[2] / "results" / "digits.csv")
    assert {row.schema_version for row in rows} == {2}
    assert {(row.capability, row.note, row.lr, row.batch_size) for row in rows} == {("", "", None, None)}
    assert {row.n for row in rows} == {359}


def test_rows_of_earlier_schemas_are_written_and_read_again(tmp_path: Path) -> None:
    earlier = [ROW, replace(ROW, seed=4, schema_version=2, note="", lr=None), replace(FAILED, schema_version=3)]
    write_csv(earlier, tmp_path / "rows.csv")
    rows = read_csv(tmp_path / "rows.csv")
    # From 3 on all mean the same.
    assert rows == [ROW, replace(earlier[1], regularizer="dsa-nested[lambda1=5]"), FAILED]
    write_csv(rows, tmp_path / "rows.csv")
    assert read_csv(tmp_path / "rows.csv") == rows


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("dsa", "dsa-nested"),
        ("dsa[k=8,lambda1=2]", "dsa-nested[k=8,lambda1=2]"),
        ("dsa-bank", dsa(adjust=False, weight=1, spread=0)),
        ("dsa-bank[weight=3.0]", dsa(adjust=False, spread=0, weight=3)),
        ("dsa-bank[push=0.3,weight=3]", dsa(adjust=False, push=0.3, spread=0, weight=3)),
        ("dsa-bank[pull=0,push=1,trust=none]", dsa(adjust=False, pull=0, push=1, weight=1, spread=0, trust="none")),
        ("dsa-no-m[k=8]", "dsa-no-m[k=8]"),
        ("none", "none"),
    ],
)
@pytest.mark.parametrize("schema", [3, 4])
def test_regularizers_of_earlier_schemas_have_the_names_of_now(
    before: str, now: str, schema: int, tmp_path: Path
) -> None:
    write_csv([replace(ROW, regularizer=before, schema_version=schema)], tmp_path / "rows.csv")
    rows = read_csv(tmp_path / "rows.csv")
    assert rows == [replace(ROW, regularizer=now)]
    # Once and for all.
    write_csv(rows, tmp_path / "rows.csv")
    assert read_csv(tmp_path / "rows.csv") == rows


@pytest.mark.parametrize(
    ("schema", "before", "now"),
    [
        (5, "dsa", dsa(adjust=False, weight=1, spread=0)),
        (5, "dsa[trust=none]", dsa(adjust=False, weight=1, spread=0, trust="none")),
        (5, "dsa[push=0.3,weight=3]", dsa(adjust=False, push=0.3, spread=0, weight=3)),
        (5, "dsa[spread=0.1]", dsa(adjust=False, weight=1, spread=0.1, trust="local")),
        (5, "dsa-nested[k=8]", "dsa-nested[k=8]"),
        (5, "none", "none"),
        (6, "dsa", dsa(adjust=False, weight=3)),
        (6, "dsa[spread=0,weight=1]", dsa(adjust=False, weight=1, spread=0)),
        (6, "dsa[k=8]", dsa(adjust=False, k=8, weight=3)),
        (6, "dsa-nested", "dsa-nested"),
        (7, "dsa[adjust=off]", dsa(adjust=False, weight=3)),
        (7, "dsa[adjust=off,weight=0]", dsa(adjust=False)),
        (7, "dsa[adjust_by=neighbours,k=8]", dsa(adjust_by="neighbours", k=8, weight=3)),
        (7, "dsa-nested", "dsa-nested"),
    ],
)
def test_dsa_of_earlier_schemas_has_the_defaults_of_then(schema: int, before: str, now: str, tmp_path: Path) -> None:
    write_csv([replace(ROW, regularizer=before, schema_version=schema)], tmp_path / "rows.csv")
    rows = read_csv(tmp_path / "rows.csv")
    assert rows == [replace(ROW, regularizer=now)]
    write_csv(rows, tmp_path / "rows.csv")
    assert read_csv(tmp_path / "rows.csv") == rows


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"regularizer": "dsa"}, r"dsa does not say what it adjusted features by, views or neighbours"),
        ({"regularizer": "dsa[k=8]"}, r"dsa\[k=8\] does not say"),
        ({"layer": "adjust"}, r"the layer adjust does not say"),
        ({"layer": "adjust[k=4]"}, r"the layer adjust\[k=4\] does not say"),
    ],
)
def test_what_features_were_adjusted_by_is_not_guessed(changes: dict[str, str], what: str, tmp_path: Path) -> None:
    row = replace(ROW, **{"regularizer": "none", **changes})  # type: ignore[arg-type]
    write_csv([replace(row, schema_version=7)], tmp_path / "rows.csv")
    with pytest.raises(DataError, match=f"row 1: .*{what}.*; rebuild the table from the run store"):
        read_csv(tmp_path / "rows.csv")
    # Now it is known.
    write_csv([row], tmp_path / "rows.csv")
    assert read_csv(tmp_path / "rows.csv") == [row]
    said = replace(row, regularizer="none", layer="adjust[by=neighbours]")
    write_csv([replace(said, schema_version=7)], tmp_path / "rows.csv")
    assert read_csv(tmp_path / "rows.csv") == [said]


def test_a_regularizer_of_an_earlier_schema_that_is_none_is_named(tmp_path: Path) -> None:
    write_csv([replace(ROW, regularizer="dsa[k]", schema_version=4)], tmp_path / "rows.csv")
    with pytest.raises(DataError, match=r"row 1: cannot read the option 'k' of 'dsa\[k\]': .*; rebuild the table"):
        read_csv(tmp_path / "rows.csv")


def test_a_row_of_a_later_schema_than_its_columns_is_named(tmp_path: Path) -> None:
    lines = (Path(__file__).parents[2] / "results" / "digits.csv").read_text().splitlines(keepends=True)[:3]
    (tmp_path / "rows.csv").write_text("".join([*lines[:2], lines[2].replace("2,", "4,", 1)]))
    with pytest.raises(DataError, match=r"row 2, has schema_version 4, a table of these columns has 2 to 2;"):
        read_csv(tmp_path / "rows.csv")


def test_a_table_of_schema_3_differs_in_the_spec_that_its_halves_imply(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_csv([replace(ROW, schema_version=3), replace(FAILED, schema_version=3)], path)
    with path.open(newline="") as file:
        lines = [line[:-1] for line in csv.reader(file)]
    path.write_text(csv_text(lines[0], lines[1:]))
    rows = read_csv(path)
    assert rows == [replace(ROW, regularizer="dsa-nested[lambda1=5]"), FAILED]
    assert [row.spec for row in rows] == ["simclr+dsa-nested[lambda1=5]", "simclr"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a,b\n1,2\n"])
def test_read_csv_refuses_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"rows\.csv"):
        read_csv(path)
    with pytest.raises(DataError, match="cannot read"):
        read_csv(tmp_path / "missing.csv")


def test_a_summary_names_the_table_that_it_is_of() -> None:
    results = Path(__file__).parents[2] / "results"
    with pytest.raises(DataError, match=r"digits-summary.csv is the summary of .*; give .*results/digits.csv$"):
        read_csv(results / "digits-summary.csv")


def test_check_unique_names_the_repeated_value() -> None:
    check_unique([ROW, FAILED, replace(ROW, metric="recall")])
    with pytest.raises(DataError, match=r"run_id=0123456789ab, dataset=digits, split=test.*metric=accuracy"):
        check_unique([ROW, FAILED, replace(ROW, value=0.5)])


def test_comparable_ignores_cost_and_provenance_of_time_alone() -> None:
    other = replace(ROW, wall_s=1.0, images_per_s=None, peak_mem_mb=2.0, git_sha="x", git_dirty=True, started_utc="")
    assert comparable(replace(other, epochs=1, images_seen=2)) == comparable(ROW)
    for name in set(COLUMNS) - {"spec", "epochs", "images_seen", "wall_s", "images_per_s", "peak_mem_mb"}:
        if not name.startswith("git_") and name != "started_utc":
            assert comparable(replace(ROW, **{name: "another"})) != comparable(ROW), name
    assert comparable(replace(ROW, value=float("nan"))) == comparable(replace(ROW, value=float("nan")))


def test_spec_and_canonical_json() -> None:
    assert ROW.spec == "simclr+dsa[lambda1=5]"
    assert FAILED.spec == "simclr"
    assert canonical_json({"shots": 1, "classifier": "centroid"}) == '{"classifier":"centroid","shots":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"temperature": math.nan})


def test_files_tables_and_words_never_import_torch() -> None:
    modules = "dsabench.files, dsabench.tables.rows, dsabench.report, dsabench.progress, dsabench.stats"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
