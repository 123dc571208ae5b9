import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dsabench.files import canonical_json
from dsabench.report import finding, label, per_image, print_comparisons, print_listing, print_overview, write_summary
from dsabench.report.table import Difference, Mean, PValue
from dsabench.report.wording import broken, short_names, unit_of, written
from dsabench.stats import Comparison, MetricKey
from dsabench.tables.rows import SCHEMA_VERSION, Row

GOLDEN = Path(__file__).parent / "golden"
LINEAR = '{"C":[0.1,1.0],"select":"val_accuracy","standardise":true}'
MEASURED: list[tuple[str, str, str, float, float, bool | None]] = [
    ("crowding", "{}", "cdnv", 0.168, 0.004, False),
    ("crowding", "{}", "silhouette", 0.432, 0.01, True),
    ("crowding", "{}", "inter_class_separation", 1.21, 0.03, True),
    ("crowding", "{}", "rankme", 23.4, 0.8, None),
    ("crowding", "{}", "feature_std", 0.0432, 0.0004, None),
    ("knn", '{"k":20,"temperature":0.07}', "accuracy", 0.982, 0.002, True),
    ("knn5", '{"k":5,"metric":"euclidean"}', "accuracy", 0.978, 0.002, True),
    ("linear", LINEAR, "accuracy", 0.988, 0.001, True),
    ("linear", LINEAR, "chosen_C", 0.1, 0.0, None),
]
MEASURED += [
    ("fewshot", canonical_json({"classifier": name, "shots": shots}), "accuracy", 0.9 + shots / 200, 0.01, True)
    for shots in (1, 5, 10)
    for name in ("centroid", "logistic")
]


def row(spec: str, seed: int, **changes: Any) -> Row:
    method, _, regularizer = spec.partition("+")
    plain = Row(
        schema_version=SCHEMA_VERSION, run_id=f"{spec}-{seed}", method=method, regularizer=regularizer or "none",
        backbone="resnet", seed=seed, dataset="digits", dataset_sha256="", split="test", n=359, layer="backbone",
        probe="crowding", probe_version="1", probe_params="{}", metric="cdnv", value=0.1, higher_is_better=False,
        status="ok", epochs=60, images_seen=77_580, wall_s=61.2, images_per_s=None, peak_mem_mb=None, config_hash="",
        git_sha="", git_dirty=None, dsabench_version="", torch_version="", device="cpu", n_devices=1, precision="32",
        threads=1, deterministic=True, augment="batched", prior="none",
        labels_used="training" if method == "supervised" else "none", started_utc="",
    )  # fmt: skip
    return replace(plain, **changes)


def rows_of(spec: str, seeds: Sequence[int]) -> list[Row]:
    """Rows whose values lie evenly around a mean that +dsa moves the better way."""
    rows = []
    for seed in seeds:
        for probe, params, metric, mean, step, better in MEASURED:
            gain = 0.0 if better is None or "+" not in spec else 5 * step * (1 if better else -1)
            value = mean + gain + step * (seed - (len(seeds) - 1) / 2)
            names = {"probe": probe, "probe_params": params, "metric": metric}
            wall_s = 96.4 if "+" in spec else 61.2
            rows.append(row(spec, seed, value=value, higher_is_better=better, wall_s=wall_s, **names))
    return rows


def failed(spec: str, seed: int) -> Row:
    nothing = {"layer": "", "probe": "", "probe_params": "", "metric": "", "split": ""}
    return row(spec, seed, status="failed", value=None, higher_is_better=None, n=None, wall_s=None, **nothing)


def compared(
    metric: int = 0, *, role: str = "secondary", verdict: str = "no difference shown", **changes: Any
) -> Comparison:
    probe, params, name, mean, step, better = MEASURED[metric]
    shift = 5 * step * (-1 if better is False else 1)
    plain = Comparison(
        spec="simclr+dsa", against="simclr", key=MetricKey("backbone", probe, params, name), role=role,
        higher_is_better=better, n_seeds=6, mean_against=mean, std_against=step, mean=mean + shift, std=step,
        difference=shift, low=shift - 2 * step, high=shift + 3 * step, t_low=shift - step, t_high=shift + step,
        p=0.03125, p_holm=0.4375 if role == "secondary" else None, can_reach_05=role == "primary",
        gap_closed=0.38 if role == "primary" else None, verdict=verdict,
    )  # fmt: skip
    return replace(plain, **changes)


PRIMARY = compared(
    role="primary", verdict="better", mean_against=0.168, mean=0.117, difference=-0.051, low=-0.062, high=-0.040
)
PAIR = [
    *(compared(place, role="descriptive" if MEASURED[place][5] is None else "secondary",
               verdict="" if MEASURED[place][5] is None else "cannot reach .05 with 6 seeds")
      for place in range(1, len(MEASURED))),
    PRIMARY,
]  # fmt: skip


def rendered(show: Callable[[Console], None], *, encoding: str = "utf-8", terminal: bool = False) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    show(Console(file=file, width=80, force_terminal=terminal, color_system=None))
    file.seek(0)
    text = file.read()
    assert max(map(len, text.splitlines())) <= 80
    return text


def overview(console: Console) -> None:
    specs = ["random", "simclr", "simclr+dsa", "byol", "byol+dsa", "barlow_twins", "barlow_twins+dsa", "supervised"]
    rows = [entry for spec in specs for entry in rows_of(spec, range(4) if spec == "byol+dsa" else range(6))]
    print_overview(console, [*rows, failed("byol+dsa", 4), failed("byol+dsa", 5), failed("vicreg", 0)])


def pair(console: Console) -> None:
    print_comparisons(console, PAIR)


@pytest.mark.parametrize("show", [overview, pair])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_tables_are_the_golden_ones(show: Callable[[Console], None], encoding: str) -> None:
    text = rendered(show, encoding=encoding)
    assert text == (GOLDEN / f"{show.__name__}-{encoding}.txt").read_text(encoding=encoding)
    assert rendered(show, encoding=encoding, terminal=True) == text


def test_overview_shows_only_what_rows_hold_and_a_lone_seed_without_spread() -> None:
    text = rendered(lambda console: print_overview(console, [row("simclr", 0, value=0.25)]))
    assert ".250" in text
    assert "CDNV" in text
    for absent in ("kNN", "linear", "RankMe", "failed", "†", ".250±"):
        assert absent not in text


def test_overview_averages_within_one_data_set_split_layer_and_parameter_alone() -> None:
    knn = {"probe": "knn", "metric": "accuracy", "higher_is_better": True}
    rows = [
        row("simclr", 0, **knn, probe_params='{"k":20}', value=0.9),
        row("simclr", 0, **knn, probe_params='{"k":200}', value=0.1),
        row("simclr", 0, **knn, probe_params='{"k":20}', layer="projector", value=0.2),
        row("simclr", 0, **knn, probe_params='{"k":20}', split="val", value=0.3),
        row("simclr", 0, **knn, probe_params='{"k":20}', dataset="cifar10", value=0.4),
    ]
    text = rendered(lambda console: print_overview(console, rows))
    titles = [line.strip() for line in text.splitlines() if "features" in line]
    assert titles == [f"{where} split, backbone features" for where in ("digits, test", "digits, val", "cifar10, test")]
    assert [line.split()[2] for line in text.splitlines() if line.startswith("simclr")] == ["90.0", "30.0", "40.0"]


def test_overview_keeps_unequal_runs_of_a_spec_apart_and_says_when_a_seed_ran_twice() -> None:
    rows = [
        row("simclr", 0, value=0.1),
        row("simclr", 0, value=0.3, epochs=120, run_id="longer"),
        row("byol", 0, value=0.5),
        row("byol", 0, value=0.7, run_id="other-options"),
    ]
    lines = [line.split() for line in rendered(lambda console: print_overview(console, rows)).splitlines()]
    assert ["simclr", "1", ".100", "61"] in lines
    assert ["simclr", "1", ".300", "61"] in lines
    assert ["60", "epochs"] in lines
    assert ["120", "epochs"] in lines
    assert ["byol", "1", ".600±.141", "61"] in lines
    assert ["2", "runs"] in lines


def test_a_data_set_whose_runs_all_failed_is_still_shown() -> None:
    text = rendered(lambda console: print_overview(console, [failed("simclr", 0), failed("simclr", 1)]))
    assert "digits, no run finished" in text
    assert "2 failed" in text


def test_comparison_puts_the_primary_first_and_limits_only_secondary_metrics() -> None:
    text = rendered(lambda console: print_comparisons(console, PAIR, limit=2))
    order = ["primary, backbone", "CDNV", "secondary, backbone", "silhouette", "descriptive, backbone", "RankMe"]
    places = [text.index(word) for word in order]
    assert all(before < after for before, after in pairwise(places))
    assert "kNN" not in text
    assert "Holm over 11 secondary metrics" in text
    assert "9 more not shown here" in text
    assert "none of them can reach .05 with 6 seeds" in text


def test_comparison_survives_options_in_brackets_and_unbounded_intervals() -> None:
    spec, against = "simclr[temperature=0.2]+dsa[lambda1=5]", "simclr[temperature=0.2]"
    few = replace(
        PRIMARY, spec=spec, against=against, n_seeds=3, low=-math.inf, high=math.inf, p=0.25, can_reach_05=False,
        verdict="insufficient evidence",
    )  # fmt: skip
    text = rendered(lambda console: print_comparisons(console, [few]))
    assert spec in " ".join(text.split())
    assert "unbounded" in text
    assert "too few" in text
    assert "cannot reach .05 with 3 seeds" in text


def test_finding_states_gains_nulls_and_too_few_seeds_as_plainly() -> None:
    null = replace(PRIMARY, mean=0.165, difference=-0.003, low=-0.01, high=0.004, p=0.4375,
                   verdict="no difference shown")  # fmt: skip
    few = replace(PRIMARY, n_seeds=3, can_reach_05=False, verdict="insufficient evidence")
    accuracy = compared(5, role="primary", verdict="worse", mean_against=0.989, mean=0.983, difference=-0.006,
                        low=-0.012, high=-0.002, p=0.00001, n_seeds=20)  # fmt: skip
    text = finding([PRIMARY, *PAIR[:3], null, few, accuracy], cost_ratio={("simclr+dsa", "byol"): 2.0})
    assert text.splitlines() == [
        "simclr+dsa lowers cdnv against simclr by 0.051 (0.168 -> 0.117; exact 95% interval -0.062 to -0.040, "
        "p = 0.031, 6 seeds): better.",
        "no difference shown: simclr+dsa against simclr on cdnv (0.168 -> 0.165; difference -0.003; exact 95% interval "
        "-0.010 to +0.004, p = 0.438, 6 seeds).",
        "insufficient evidence: simclr+dsa against simclr on cdnv (0.168 -> 0.117; difference -0.051; 3 seeds cannot "
        "reach p < .05).",
        "simclr+dsa lowers kNN (k=20) accuracy against simclr by 0.6 points (98.9% -> 98.3%; exact 95% interval -1.2 "
        "to -0.2 points, p < .001, 20 seeds): worse.",
    ]
    assert finding([PRIMARY], cost_ratio={("simclr+dsa", "simclr"): 1.42}).endswith("A run takes 1.42 times as long.")
    assert finding(PAIR[:3]) == ""


def test_summary_is_the_golden_file_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "demo-summary.csv"
    unbounded = replace(PRIMARY, low=-math.inf, high=math.inf, spec="=1+1")
    write_summary([PRIMARY, PAIR[2], unbounded], path, extra={"dataset": "digits", "split": "test"})
    assert path.read_bytes() == (GOLDEN / "summary.csv").read_bytes()
    first, second, third = csv.DictReader(io.StringIO(path.read_text()))
    assert (first["dataset"], first["layer"], first["metric"], float(first["p"])) == (
        "digits",
        "backbone",
        "cdnv",
        0.03125,
    )
    assert second["gap_closed"] == ""
    assert (third["spec"], third["low"], third["high"]) == ("'=1+1", "-inf", "inf")
    write_summary([], path, extra={})
    assert path.read_text().startswith("spec,against,layer,probe,probe_params,metric,role,")


def test_listing_keeps_brackets_wraps_and_says_when_there_is_nothing() -> None:
    entries = [{"name": "dsa", "summary": "weights [lambda1] the adjustment loss " * 4}, {"name": "none"}]
    text = rendered(lambda console: print_listing(console, "regularizers", entries))
    assert "[lambda1]" in text
    assert text.splitlines()[0].split() == ["name", "summary"]
    assert rendered(lambda console: print_listing(console, "runs", [])) == "no runs yet\n"


def test_labels() -> None:
    labels = [label(probe, params, metric) for probe, params, metric, *_ in MEASURED]
    assert labels[:9] == [
        "CDNV", "silhouette", "inter-class sep.", "RankMe", "feature std", "kNN (k=20)", "5-NN (euclidean)", "linear",
        "linear chosen C",
    ]  # fmt: skip
    assert labels[9:11] == ["1-shot (centroid)", "1-shot (logistic)"]
    assert label("knn", '{"k":7,"weights":"none"}', "accuracy") == "kNN (k=7, none)"
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("metric", "mean", "difference", "text"),
    [
        ("cdnv", 0.168, -0.051, "-0.051"),
        ("cdnv", 3.36, 0.0004, "+0.0004"),
        ("cdnv", 0.168, -0.0, "-0.000"),
        ("rankme", 23.4, -1.5, "-1.50"),
        ("rankme", 512.0, 3.0, "+3.0"),
        ("feature_std", 0.0021, 0.0003, "+0.0003"),
        ("accuracy", 0.98, 0.006, "+0.6"),
        ("accuracy", 0.98, 0.0003, "+0.03"),
        ("cdnv", math.nan, math.inf, "+inf"),
    ],
)
def test_no_difference_is_rounded_to_nothing(metric: str, mean: float, difference: float, text: str) -> None:
    assert written(Difference(difference, unit_of(metric), mean)) == text


def test_short_texts() -> None:
    assert written(Mean(0.117, 0.00849, 2)) == ".117±.008"
    assert written(Mean(0.983, 0.00424, 2, "%")) == "98.3±.4"
    assert written(Mean(0.5, 0.566, 2, "%")) == "50±57"
    assert written(Mean(-0.5, 0.0, 2), plus_minus="/") == "-.500/.000"
    assert [written(p and PValue(p)) for p in (None, 0.0004, 0.03125, 1.0)] == ["", "<.001", "0.031", "1.000"]
    assert broken("barlow_twins+dsa", 9) == "barlow_\ntwins+dsa"
    assert broken("barlow_twins+dsa", 16) == "barlow_twins+dsa"
    assert short_names("a[x=1]+dsa", "a[x=1]") == ("a+dsa", "a")
    assert short_names("a+dsa[x=1]", "a+dsa[x=2]") == ("spec", "against")


def test_mcnemar_is_a_line_a_pair_and_never_a_verdict() -> None:
    text = per_image({("a+dsa", "a"): [0.01, 0.5, 0.0004], ("b", "a"): []})
    assert text.splitlines()[1:] == ["a+dsa against a: p < .05 in 2 of 3 seeds (0.010, 0.500, <.001)"]
    assert "no verdict" in text
    assert per_image({("b", "a"): []}) == ""
