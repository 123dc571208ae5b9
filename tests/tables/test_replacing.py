from dataclasses import replace
from pathlib import Path

import pytest

from dsabench.config.eval_config import led_by, parse_parts
from dsabench.config.plan import plan
from dsabench.config.request import Request
from dsabench.config.spec import Part, parse_spec
from dsabench.data import load_dataset
from dsabench.data.data_config import DataConfig
from dsabench.errors import DataError, UsageError
from dsabench.tables.replacing import Contents, check_replaceable
from dsabench.tables.rows import Row, read_csv, write_csv

GOLDEN = Path(__file__).parent / "golden" / "results.csv"


@pytest.fixture(scope="module")
def contents() -> Contents:
    data = DataConfig(name="synthetic", image_size=8)
    request = Request((parse_spec("simclr"), parse_spec("simclr+dsa")), (0, 1), data, epochs=3, device="cpu")
    planned = plan(request, load_dataset(data))
    layers = parse_parts(("backbone", "smooth[k=20]"))
    return Contents.planned(planned, (Part("knn", {"k": 20}), Part("cdnv")), layers, "test")


@pytest.fixture
def row() -> Row:
    (first, *_) = read_csv(GOLDEN)
    return replace(
        first,
        method="simclr",
        regularizer="none",
        seed=1,
        dataset="synthetic",
        backbone="resnet8",
        epochs=3,
        split="test",
        layer="backbone",
        probe="knn",
        probe_params='{"k":20,"temperature":0.07}',
        metric="accuracy",
        status="ok",
    )


def test_what_the_new_table_has_too_is_not_lost(contents: Contents, row: Row) -> None:
    cdnv = replace(row, probe="crowding", metric="cdnv", probe_params="{}", layer="smooth[k=20]")
    # A failed run has one row without a layer and a probe.
    failed = replace(row, layer="", probe="", metric="", probe_params="{}", status="failed", value=None)
    assert contents.lost([row, cdnv, failed]) == []
    assert contents.lost([]) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 7}, "the seed 7"),
        ({"method": "byol"}, "the spec byol"),
        ({"regularizer": "dsa[k=5]"}, "the spec simclr+dsa[k=5]"),
        ({"dataset": "digits"}, "the data set digits"),
        ({"split": "val"}, "the split val"),
        ({"layer": "projector"}, "the layer projector"),
        ({"probe": "linear"}, "the probe linear"),
        ({"probe_params": '{"k":5,"temperature":0.07}'}, "the probe knn"),
        ({"probe": "crowding", "metric": "rankme", "probe_params": "{}"}, "the probe rankme"),
        ({"epochs": 60}, "the number of epochs 60"),
        ({"backbone": "resnet50"}, "the backbone resnet50"),
    ],
)
def test_whatever_it_has_not_is_named(contents: Contents, row: Row, changes: dict[str, object], words: str) -> None:
    assert contents.lost([row, replace(row, **changes)]) == [words]  # type: ignore[arg-type]


def test_rows_that_are_there_already_are_contents_too(row: Row) -> None:
    linear = replace(row, probe="linear", probe_params="{}")
    assert Contents.of([row, linear]).lost([row]) == []
    assert Contents.of([row]).lost([row, linear, replace(row, seed=3)]) == ["the seed 3", "the probe linear"]


def test_a_file_in_the_way_stays(contents: Contents, row: Row, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    check_replaceable(table, contents)
    write_csv([row], table)
    check_replaceable(table, contents)
    write_csv([row, replace(row, seed=4), replace(row, seed=5, split="val")], table)
    with pytest.raises(UsageError, match=r"the split val; the seeds 4, 5 \(its seeds are 1, 4, 5\); name another"):
        check_replaceable(table, contents)
    table.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="other columns"):
        check_replaceable(table, contents)


def test_the_layer_of_the_verdict_leads_in_whichever_order_they_were_named() -> None:
    backbone, projector, smooth = parse_parts(("backbone", "projector", "smooth[k=20]"))
    assert led_by((projector, smooth, backbone), backbone) == (backbone, projector, smooth)
    assert led_by((backbone, projector), backbone) == (backbone, projector)
    with pytest.raises(UsageError, match="add --layer 'backbone', or declare another with --primary METRIC@projector"):
        led_by((projector,), backbone)
