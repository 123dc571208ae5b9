"""From rows to comparisons: what was published, which metric and guards are meant, failed runs, the declared family."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsabench.config.spec import parse_spec
from dsabench.errors import NothingToCompare, UsageError
from dsabench.stats import Comparison, MetricKey
from dsabench.tables.comparisons import SHORTEST_S, compare_rows, cost_ratios, key_of, pairs_of, without_seeds
from dsabench.tables.criteria import GUARDS, Criteria, MetricGuard, parse_guard, parse_primary, parse_share
from dsabench.tables.rows import Row, cell, read_csv

RESULTS = Path(__file__).parents[2] / "results"
KNN, SHOTS = '{"k":20,"temperature":0.07}', '{"classifier":"centroid","draws":50,"shots":5}'
MEASURED: list[tuple[str, str, str, float, float, bool | None]] = [
    ("crowding", "{}", "cdnv", 0.2, -0.05, False),
    ("crowding", "{}", "alignment", 0.4, -0.05, False),
    ("crowding", "{}", "rankme", 30.0, 0.5, None),
    ("knn", KNN, "accuracy", 0.95, 0.01, True),
    ("knn", KNN.replace("20", "50"), "accuracy", 0.94, 0.01, True),
    ("fewshot", SHOTS, "accuracy", 0.9, 0.02, True),
]


def rows_of(spec: str, seeds: Sequence[int], gain: float = 0.0) -> list[Row]:
    like = read_csv(RESULTS / "digits.csv")[0]
    method, _, regularizer = spec.partition("+")
    return [
        replace(
            like, run_id=f"{spec}-{seed}", method=method, regularizer=regularizer or "none", seed=seed, probe=probe,
            probe_params=params, metric=metric, higher_is_better=better, value=mean + gain * step + 0.0001 * (seed % 3),
        )
        for seed in seeds
        for probe, params, metric, mean, step, better in MEASURED
    ]  # fmt: skip


def test_a_model_that_no_run_trained_has_no_seeds_in_any_table() -> None:
    criteria = Criteria(parse_primary("cdnv"), tuple(map(parse_guard, GUARDS)))
    mine = [replace(row, augment="") for row in rows_of("mine", [0])]
    rows = [*rows_of("simclr", range(6)), *rows_of("byol", [0]), *mine]
    assert without_seeds(rows) == ["mine"]
    # An arm that has a run, too, is no such model.
    assert without_seeds([*rows, *rows_of("mine", [1])]) == []
    found = compare_rows(rows, ["simclr", "byol", "mine"], criteria, "backbone")
    words = {one.spec: one.verdict for one in found if one.role == "primary"}
    # Of a run there could be more.
    assert words == {"byol": "too few", "mine": "no seeds"}


def test_costs_are_compared_of_fresh_runs_that_are_long_enough() -> None:
    def timed(seconds: float) -> list[Row]:
        times = {"simclr": seconds, "simclr+dsa": 1.5 * seconds}
        return [replace(row, wall_s=taken) for spec, taken in times.items() for row in rows_of(spec, range(6))]

    rows = timed(2 * SHORTEST_S)
    found, ids = compare_rows(rows, ("simclr", "simclr+dsa"), criteria(), "backbone"), {row.run_id for row in rows}
    assert cost_ratios(rows, found, ids) == {("simclr+dsa", "simclr"): 1.5}
    assert cost_ratios(rows, found, {row.run_id for row in rows if row.regularizer == "none"}) == {}
    # One of the two is enough to make nothing of their ratio.
    assert cost_ratios(timed(0.9 * SHORTEST_S), found, ids) == {}


def failed(rows: Sequence[Row]) -> list[Row]:
    """The one row that each of the runs would have left, had it failed."""
    runs = {row.run_id: row for row in rows}.values()
    nothing: dict[str, Any] = {"layer": "", "probe": "", "probe_params": "", "metric": "", "value": None}
    return [replace(row, status="failed", note="the loss is nan", higher_is_better=None, **nothing) for row in runs]


def criteria(primary: str = "cdnv", guards: Sequence[MetricGuard] | None = None, **more: float) -> Criteria:
    chosen = tuple(map(parse_guard, GUARDS) if guards is None else guards)
    return Criteria(parse_primary(primary), chosen, **more)


def compare(
    rows: Sequence[Row],
    *specs: str,
    guards: Sequence[MetricGuard] | None = None,
    smallest_effect: float = 0.05,
    **options: Any,
) -> dict[tuple[str, str, MetricKey], Comparison]:
    by = criteria(guards=guards, smallest_effect=smallest_effect)
    found = compare_rows(rows, specs or ("simclr", "simclr+dsa"), by, "backbone", **options)
    return {(row.spec, row.against, row.key): row for row in found}


def primaries(rows: Sequence[Row], *specs: str, **options: Any) -> list[Comparison]:
    return [row for row in compare(rows, *specs, **options).values() if row.role == "primary"]


@pytest.mark.parametrize("name", ["digits", "digits-equal-time", "cifar10-jpeg"])
def test_published_differences_intervals_and_p_are_unchanged_to_the_last_digit(name: str) -> None:
    rows = read_csv(RESULTS / f"{name}.csv")
    with (RESULTS / f"{name}-summary.csv").open() as file:
        published = list(csv.DictReader(file))
    found = compare(rows, *dict.fromkeys(row.spec for row in rows))
    assert len(found) == len(published)
    for old in published:
        key = MetricKey(old["layer"], old["probe"], old["probe_params"], old["metric"])
        new = found[old["spec"], old["against"], key]
        for column in (
            "mean_against",
            "std_against",
            "mean",
            "std",
            "difference",
            "low",
            "high",
            "t_low",
            "t_high",
            "p",
        ):
            assert cell(getattr(new, column)) == old[column], (old["spec"], key, column)
        assert cell(new.gap_closed) == old["gap_closed"]


def test_metrics_are_named_as_on_the_command_line_and_their_text_reads_back() -> None:
    for text in ("cdnv", "knn", "linear", "fewshot[classifier=logistic,shots=10]"):
        assert str(parse_primary(text)) == text
        assert parse_guard(text, 0.02) == (parse_primary(text), 0.02)
    assert [str(parse_guard(text).choice) for text in GUARDS] == list(GUARDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("knnn", r"unknown guard 'knnn'; did you mean 'knn'\?"),
        ("rankme", "cannot carry a verdict"),
        ("fewshot", r"must name one accuracy of the probe, as in fewshot\[classifier=centroid,shots=1\]"),
        (
            "fewshot[classifier=centriod,shots=5]",
            r"unknown classifier of fewshot 'centriod'; did you mean 'centroid'\?",
        ),
        ("fewshot[classifier=centroid,shots=3]", "unknown shots of fewshot '3'"),
    ],
)
def test_a_wrong_guard_is_refused_with_the_nearest_right_one(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_guard(text)


def test_shares_are_read_as_numbers_or_percent() -> None:
    assert [parse_share("--margin", text) for text in ("0.01", "1%", "0", " .5 ")] == [0.01, 0.01, 0, 0.5]
    with pytest.raises(UsageError, match=r"--margin '1' .*did you mean 0.01\?"):
        parse_share("--margin", "1")
    for wrong in ("-0.1", "nan", "one", "", "1%%", "100%"):
        with pytest.raises(UsageError, match="no share"):
            parse_share("--smallest-effect", wrong)


def test_default_guards_carry_the_verdict_with_the_probes_own_options() -> None:
    plain, better = rows_of("simclr", range(6)), rows_of("simclr+dsa", range(6), gain=1)
    (row,) = primaries([*plain, *better])
    assert (row.verdict, [guard.held for guard in row.guards]) == ("better", [True, True])
    fallen = [replace(r, value=0.9) if r.probe_params == KNN else r for r in better]
    (row,) = primaries([*plain, *fallen])
    assert (row.verdict, [guard.held for guard in row.guards]) == ("tighter, not better", [False, True])
    assert cell(row.guards).startswith("knn fallen (-0.0502 to -0.05, margin 0.01); fewshot[")
    assert primaries([*plain, *fallen], guards=[parse_guard("knn", 0.1)])[0].verdict == "better"
    unmeasured = [r for r in [*plain, *better] if r.probe != "fewshot"]
    assert primaries(unmeasured)[0].verdict == "not better, a guard was not measured"
    assert primaries([*plain, *better], smallest_effect=0.5)[0].verdict == "better by less than matters"


def test_only_the_core_tier_is_the_family() -> None:
    rows = [*rows_of("simclr", range(8)), *rows_of("simclr+dsa", range(8), gain=1)]
    roles = {(key.metric, key.params): row.role for (_, _, key), row in compare(rows).items()}
    assert roles == {
        ("cdnv", "{}"): "primary",
        ("alignment", "{}"): "descriptive",
        ("rankme", "{}"): "descriptive",
        ("accuracy", KNN): "secondary",
        ("accuracy", KNN.replace("20", "50")): "descriptive",
        ("accuracy", SHOTS): "secondary",
    }
    chosen = {key_of(row) for row in rows if row.metric == "alignment"}
    found = {key.metric: row for (_, _, key), row in compare(rows, family=chosen).items()}
    assert (found["alignment"].role, found["alignment"].p_holm) == ("secondary", 1 / 128)


def test_failed_runs_are_counted_and_missing_ones_named() -> None:
    plain, better = rows_of("simclr", range(8)), rows_of("simclr+dsa", range(8), gain=1)
    (row,) = primaries([*plain, *better[: 6 * len(MEASURED)], *failed(better[6 * len(MEASURED) :])])
    assert row.shortfalls() == ["simclr+dsa: 2 of 8 runs failed"]
    assert (row.n_seeds, row.n_pairs, row.verdict) == (6, 8, "not shown")
    (row,) = primaries([*plain, *better[len(MEASURED) :]])
    assert row.shortfalls() == ["simclr+dsa: seed 0 missing"]
    assert primaries([*plain, *better[len(MEASURED) :]], seeds=range(1, 8))[0].verdict == "better"


def test_an_arm_whose_every_run_failed_is_worse_and_two_of_them_are_nothing() -> None:
    plain, other = rows_of("simclr", range(6)), failed(rows_of("simclr+dsa", range(6)))
    assert primaries([*plain, *other])[0].verdict == "worse"
    with pytest.raises(NothingToCompare, match="finished"):
        compare([*failed(plain), *other])
    with pytest.raises(NothingToCompare, match="finished"):
        compare(plain)
    with pytest.raises(NothingToCompare, match="linear was not measured on the layer 'backbone'"):
        compare_rows([*plain, *rows_of("byol", range(6))], ["simclr", "byol"], criteria("linear"), "backbone")


def test_every_pair_against_one_baseline_is_in_its_family() -> None:
    specs = ("simclr", "simclr+dsa", "byol", "byol+dsa")
    rows = [row for spec in specs for row in rows_of(spec, range(7), gain=float("+" in spec))]
    found = {(row.spec, row.against): row for row in primaries(rows, *specs)}
    assert {pair: row.p_pairs for pair, row in found.items()} == {
        ("simclr+dsa", "simclr"): 3 / 64,
        ("byol", "simclr"): 1,
        ("byol+dsa", "simclr"): 3 / 64,
        ("byol+dsa", "byol"): 1 / 64,
    }
    assert {row.verdict for pair, row in found.items() if pair != ("byol", "simclr")} == {"better"}
    assert found["byol", "simclr"].verdict == "no difference"


def test_a_tuned_arm_is_held_against_the_tuned_plain_method() -> None:
    def found(*specs: str) -> list[tuple[str, str]]:
        return [pair for pair in pairs_of([parse_spec(spec) for spec in specs]) if pair[1] != specs[0]]

    tuned, other = "byol[lr=0.1]", "byol[lr=0.2]+dsa[k=5]"
    assert found("simclr", tuned, other) == [(other, tuned)]
    # The one with the same options is meant where there is one, and none where it could be either.
    assert found("simclr", "byol", "byol[lr=0.2]", other) == [(other, "byol[lr=0.2]")]
    assert found("simclr", "byol", tuned, other) == []
    assert found("simclr", "simclr+dsa", "vicreg") == []
