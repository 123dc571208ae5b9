"""Several data sets in one table: numbers by hand, ties as ties, directions and scales."""

from dataclasses import replace

from arms import row

from dsabench.report import dataset_table
from dsabench.report.table import Mean, Table
from dsabench.report.wording import written
from dsabench.stats import MetricKey
from dsabench.tables.rows import Row

KNN = MetricKey("backbone", "knn", "{}", "accuracy")
CDNV = MetricKey("backbone", "crowding", "{}", "cdnv")


def rows_of(spec: str, dataset: str, values: list[float], key: MetricKey = KNN, first_seed: int = 0) -> list[Row]:
    better = key is KNN
    like = row(spec, 0, dataset=dataset, probe=key.probe, metric=key.metric, higher_is_better=better)
    return [replace(like, seed=first_seed + s, run_id=f"{spec}{s}", value=value) for s, value in enumerate(values)]


def line(table: Table, spec: str) -> list[str]:
    (cells,) = (cells for section in table.sections for cells in section.rows if written(cells[0]) == spec)
    return [written(cell) for cell in cells]


def test_a_column_a_data_set_and_what_they_come_to() -> None:
    arms = {
        "simclr": [*rows_of("simclr", "digits", [0.9, 0.8, 0.7]), *rows_of("simclr", "cifar10", [0.5, 0.4, 0.6])],
        "byol": [*rows_of("byol", "digits", [0.95, 0.8, 0.6]), *rows_of("byol", "cifar10", [0.6, 0.5, 0.7])],
    }
    table = dataset_table(arms, KNN)
    assert [column.label for column in table.columns][:4] == ["spec", "digits", "cifar10", "IQM"]
    # Of six values one is cut at either end: (.5 + .6 + .7 + .8) / 4.
    assert line(table, "simclr")[:4] == ["simclr", "80.0±10.0", "50.0±10.0", "65.0"]
    assert line(table, "simclr")[5:] == ["", "", ""]
    assert line(table, "byol")[1:4] == ["78.3±17.6", "60.0±10.0", "67.5"]
    # One seed ahead, one tie and one behind on digits, three ahead on cifar10: (1.5 / 3 + 1) / 2.
    assert line(table, "byol")[5] == ".750"
    assert line(table, "byol")[7] == "4/1/1"
    assert any("ties are ties" in note for note in table.notes)


def test_a_metric_without_a_scale_is_taken_by_its_ratio_and_its_direction() -> None:
    arms = {
        "simclr": [*rows_of("simclr", "a", [0.2, 0.2], CDNV), *rows_of("simclr", "b", [4.0, 4.0], CDNV)],
        "simclr+dsa": [*rows_of("simclr+dsa", "a", [0.1, 0.1], CDNV), *rows_of("simclr+dsa", "b", [2.0, 2.0], CDNV)],
    }
    table = dataset_table(arms, CDNV)
    assert line(table, "simclr")[3] == "1.00"
    assert line(table, "simclr+dsa")[3:8] == [".500", ".500 to .500", "1.00", "1.00 to 1.00", "4/0/0"]
    assert table.columns[3].label == "IQM ratio"


def test_seeds_that_are_not_paired_are_compared_all_with_all_and_a_gap_gives_no_number() -> None:
    arms = {
        "simclr": [*rows_of("simclr", "a", [0.5, 0.7]), *rows_of("simclr", "b", [0.5])],
        "byol": [*rows_of("byol", "a", [0.6, 0.8], first_seed=5), *rows_of("byol", "b", [0.9])],
        "moco": rows_of("moco", "a", [0.5]),
    }
    table = dataset_table(arms, KNN)
    # 3 of 4 pairs on a, 1 of 1 on b; a single run bounds nothing.
    assert line(table, "byol")[4:8] == ["one run", ".875", "one run", ""]
    assert line(table, "moco")[2:] == [""] * 6
    cells = next(cells for section in table.sections for cells in section.rows if written(cells[0]) == "moco")
    assert cells[1] == Mean(0.5, None, 1, "%")


def test_where_no_arm_has_all_data_sets_there_are_no_empty_columns() -> None:
    arms = {
        "simclr": [*rows_of("simclr", "a", [0.5, 0.7]), *rows_of("simclr", "b", [0.5])],
        "byol": rows_of("byol", "a", [0.6]),
        "moco": rows_of("moco", "b", [0.6]),
    }
    table = dataset_table(arms, KNN)
    assert [column.label for column in table.columns] == ["spec", "a", "b"]
    assert line(table, "byol") == ["byol", "60.0", ""]
    assert table.notes[-1] == "no arm was measured on all of them as the baseline was: nothing over them"
