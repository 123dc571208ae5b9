import csv
import io
import math
from dataclasses import replace
from pathlib import Path

from arms import PAIR, PRIMARY, compared

from dsabench.report import finding, per_image, write_summary

GOLDEN = Path(__file__).parent / "golden"


def test_finding_states_gains_nulls_and_too_few_seeds_as_plainly() -> None:
    null = replace(PRIMARY, mean=0.165, difference=-0.003, low=-0.01, high=0.004, p=0.4375,
                   verdict="no difference shown")  # fmt: skip
    few = replace(PRIMARY, n_seeds=3, can_reach_05=False, verdict="insufficient evidence")
    accuracy = compared(5, role="primary", verdict="worse", mean_against=0.989, mean=0.983, difference=-0.006,
                        low=-0.012, high=-0.002, p=0.00001, n_seeds=20)  # fmt: skip
    text = finding([PRIMARY, *PAIR[:3], null, few, accuracy], cost_ratio={("simclr+dsa", "byol"): 2.0})
    assert text.splitlines() == [
        "simclr+dsa lowers cdnv against simclr by .051 (.168 -> .117; exact 95% interval -.062 to -.040, "
        "p = .031, 6 seeds): better.",
        "no difference shown: simclr+dsa against simclr on cdnv (.168 -> .165; difference -.003; exact 95% interval "
        "-.010 to +.004, p = .438, 6 seeds).",
        "too few seeds: simclr+dsa against simclr on cdnv (.168 -> .117; difference -.051; 3 seeds cannot reach .05, "
        "6 would do).",
        "simclr+dsa lowers kNN (k=20) accuracy against simclr by .6 points (98.9% -> 98.3%; exact 95% interval -1.2 "
        "to -.2 points, p < .001, 20 seeds): worse.",
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


def test_mcnemar_is_a_line_a_pair_and_never_a_verdict() -> None:
    text = per_image({("a+dsa", "a"): [0.01, 0.5, 0.0004], ("b", "a"): []})
    assert text.splitlines()[1:] == ["a+dsa against a: p < .05 in 2 of 3 seeds (.010, .500, <.001)"]
    assert "no verdict" in text
    assert per_image({("b", "a"): []}) == ""
