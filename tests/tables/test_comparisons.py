"""Which metrics a comparison judges: the core, whatever else is measured, and the primary one."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace

import pytest

from dsabench.errors import UsageError
from dsabench.stats import Comparison
from dsabench.tables.comparisons import compare_rows, parse_primary
from dsabench.tables.rows import Row

SPECS, SEEDS = ["simclr", "simclr+dsa"], range(6)
KNN = {"k": 20, "temperature": 0.07}
CORE = [
    ("crowding", {}, "cdnv", 0.2, False),
    ("crowding", {}, "silhouette", 0.4, True),
    ("crowding", {}, "rankme", 20.0, None),
    ("knn", KNN, "accuracy", 0.9, True),
    ("fewshot", {"classifier": "centroid", "shots": 1}, "accuracy", 0.7, True),
]
EXTRA = [
    ("crowding", {}, "directional_cdnv", 0.02, False),
    ("crowding", {"k": 10}, "hubness", 2.0, False),
    ("crowding", {}, "alignment", 0.3, False),
    ("knn", {**KNN, "k": 5}, "accuracy", 0.88, True),
    ("fewshot", {"classifier": "centroid", "draws": 3, "shots": 1}, "accuracy", 0.71, True),
    ("calibration", {"bins": 15}, "ece", 0.1, False),
]


def rows(measured: list[tuple[str, dict[str, object], str, float, bool | None]]) -> list[Row]:
    plain = Row(**{field.name: "" for field in fields(Row)})  # type: ignore[arg-type]
    return [
        replace(
            plain, run_id=f"{regularizer}-{seed}", method="simclr", regularizer=regularizer, seed=seed,
            layer="backbone", status="ok", probe=probe, probe_params=json.dumps(params), metric=metric,
            higher_is_better=better,
            value=mean * (1 + 0.01 * ((7 * seed + len(metric)) % 5) + (0.03 if regularizer == "dsa" else 0)),
        )
        for regularizer in ("none", "dsa") for seed in SEEDS for probe, params, metric, mean, better in measured
    ]  # fmt: skip


def compared(measured: list[tuple[str, dict[str, object], str, float, bool | None]], primary: str) -> list[Comparison]:
    return compare_rows(rows(measured), SPECS, parse_primary(primary), "backbone")


@pytest.mark.parametrize("primary", ["cdnv", "knn", "fewshot[classifier=centroid,shots=1]"])
def test_what_is_measured_on_request_moves_no_published_value(primary: str) -> None:
    # Asked for first, so that the order of the rows does not decide.
    alone, beside = compared(CORE, primary), compared([*EXTRA, *CORE], primary)
    assert [one for one in beside if one.key in {known.key for known in alone}] == alone
    others = [one for one in beside if one.key not in {known.key for known in alone}]
    assert len(others) == len(EXTRA)
    assert {(one.role, one.p_holm, one.verdict) for one in others} == {("descriptive", None, "")}


def test_an_extra_metric_can_be_the_primary_one() -> None:
    first, *others = compared([*CORE, *EXTRA], "directional_cdnv")
    assert (first.key.metric, first.role, first.higher_is_better) == ("directional_cdnv", "primary", False)
    assert {one.key.metric for one in others if one.role == "secondary"} == {"cdnv", "silhouette", "accuracy"}


def test_a_primary_metric_that_nothing_measures_is_an_error() -> None:
    with pytest.raises(UsageError, match=re.escape("not measured: crowding has no nc1 on backbone")):
        compared(CORE, "nc1")
