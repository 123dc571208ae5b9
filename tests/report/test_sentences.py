import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from arms import FALLEN, FAMILY, HELD, PAIR, PRIMARY, UNMEASURED, compared, row

from dsabench.report import declared, finding, narrowed, one_model_each, paired_tables, per_image, reach, write_summary
from dsabench.stats import GuardCheck, holm, sign_flip_p
from dsabench.stats.verdict import (
    BETTER,
    FAILS_MORE,
    NO_SEEDS,
    NOT_SHOWN,
    SAME,
    TIGHTER,
    TOO_FEW,
    TOO_SMALL,
    UNDECIDED,
    UNGUARDED,
    WORSE,
    largest_family,
    would_do,
)
from dsabench.tables.declaration import Declaration, deviations

GOLDEN = Path(__file__).parent / "golden"


def test_finding_states_gains_nulls_and_too_few_seeds_as_plainly() -> None:
    null = replace(PRIMARY, mean=0.165, difference=-0.003, low=-0.01, high=0.004, p=0.4375, spec="a", against="b",
                   verdict="not shown")  # fmt: skip
    few = replace(PRIMARY, against="c", n_seeds=3, n_pairs=3, can_reach_05=False, verdict="too few")
    accuracy = compared(5, role="primary", verdict="worse", against="d", mean_against=0.989, mean=0.983,
                        difference=-0.006, low=-0.012, high=-0.002, p=0.00001, n_seeds=20, n_pairs=20)  # fmt: skip
    text = finding([PRIMARY, *PAIR[:3], null, few, accuracy], cost_ratio={("simclr+dsa", "byol"): 2.0})
    assert text.splitlines() == [
        "simclr+dsa lowers cdnv against simclr by .051 (.168 -> .117; exact 95% interval -.062 to -.040, "
        "p = .031, 6 seeds): better.",
        "a against b on cdnv (.168 -> .165; difference -.003; exact 95% interval -.010 to +.004, p = .438, 6 seeds): "
        "a difference is not shown.",
        "simclr+dsa against c on cdnv (.168 -> .117; difference -.051; 3 seeds are too few, 6 would do; "
        "exact 95% interval -.062 to -.040; p = .031): too few.",
        "simclr+dsa lowers kNN (k=20) accuracy against d by .6 points (98.9% -> 98.3%; exact 95% interval -1.2 "
        "to -.2 points, p < .001, 20 seeds): worse.",
    ]
    assert finding([PRIMARY], cost_ratio={("simclr+dsa", "simclr"): 1.42}).endswith("A run takes 1.42 times as long.")
    assert finding(PAIR[:3]) == ""


def test_arms_without_seeds_are_told_once_and_no_seeds_would_do() -> None:
    single = replace(PRIMARY, spec="mine", n_seeds=1, n_pairs=1, can_reach_05=False, verdict=NO_SEEDS, p=1.0)
    assert finding([single]) == (
        "mine against simclr on cdnv (.168 -> .117; difference -.051): no seeds to compare over."
    )
    (table,) = paired_tables([single, replace(single, role="secondary")])
    assert table.notes[1:] == ("no seeds to compare over: nothing is tested",)
    assert one_model_each([]) == ""
    assert one_model_each(["mine"]) == (
        "mine has no seeds: it stands beside one run of every other arm, and nothing is tested."
    )


def test_a_choice_among_the_arms_of_a_table_says_what_holm_makes_of_all() -> None:
    ours = [replace(PRIMARY, p_pairs=0.03125)]
    others = [replace(PRIMARY, spec=f"other{k}", p_pairs=0.5) for k in range(13)]
    whole = [replace(PRIMARY, p_pairs=0.027), *others]
    assert narrowed(ours, whole, "2 of 15 arms of digits-tuned.csv") == [
        "2 of 15 arms of digits-tuned.csv: Holm counts 1 pair; over all its 14 pairs against simclr p = .027"
    ]
    (line,) = narrowed([*ours, others[0]], whole, "3 of 15 arms")
    assert line.endswith(
        "Holm counts 2 pairs; over all its 14 pairs against simclr p = .027 of simclr+dsa, p = .500 of other0"
    )
    assert narrowed(whole, whole, "all") == []


OPENING = (
    "simclr+dsa lowers cdnv against simclr by .051 "
    "(.168 -> .117; exact 95% interval -.062 to -.040, p = .031, 6 seeds{short}){rest}"
)


@pytest.mark.parametrize(
    ("changes", "short", "rest"),
    [
        (
            {"guards": HELD},
            "",
            ", and no guard fell by more than its margin (kNN +.3 to +1.1, 5-shot (centroid) +3.5 to +4.5 points; "
            "margin 1): better.",
        ),
        (
            {"guards": (HELD[0], GuardCheck("silhouette", 0.01, 0.002, 0.03, True))},
            "",
            ", and no guard fell by more than its margin (kNN +.3 to +1.1 points; margin 1; "
            "silhouette +.002 to +.030; margin .01): better.",
        ),
        (
            {"guards": FALLEN, "verdict": TIGHTER},
            "",
            ", but 5-shot (centroid) may have fallen by 2.1 points (margin 1): tighter, not better.",
        ),
        (
            {
                "guards": (
                    GuardCheck("knn", 0.01, -0.05, -0.02, False),
                    GuardCheck("linear", 0.005, -math.inf, 0.01, False),
                ),
                "verdict": TIGHTER,
            },
            "",
            ", but kNN fell by 2.0 to 5.0 points (margin 1) and linear may have fallen by any amount (margin .5): "
            "tighter, not better.",
        ),
        (
            {"guards": UNMEASURED, "verdict": UNGUARDED},
            "",
            ", but linear was not measured on enough seeds: not better, a guard was not measured.",
        ),
        (
            {"guards": HELD, "smallest_effect": 0.4, "verdict": TOO_SMALL},
            "",
            ", less than 40% of the baseline: better by less than matters.",
        ),
        (
            {"guards": HELD, "n_failed": 2, "n_pairs": 6, "n_seeds": 4, "verdict": FAILS_MORE},
            "; simclr+dsa: 2 of 6 runs failed",
            ": not better, fails more often.",
        ),
        (
            {"guards": HELD[:0], "missing_against": (6,), "verdict": BETTER},
            "; simclr: seed 6 missing",
            ": better.",
        ),
    ],
)
def test_a_finding_names_the_condition_that_decided(changes: dict[str, Any], short: str, rest: str) -> None:
    assert finding([replace(PRIMARY, **changes)]) == OPENING.format(short=short, rest=rest)


def test_every_finding_ends_with_its_verdict() -> None:
    words = (BETTER, WORSE, TIGHTER, TOO_SMALL, FAILS_MORE, UNGUARDED, SAME, NOT_SHOWN, UNDECIDED, TOO_FEW)
    for word in words:
        for difference in (-0.051, 0.051, 0.0):
            text = finding([replace(PRIMARY, verdict=word, difference=difference, guards=UNMEASURED)])
            assert word in text.rpartition(": ")[2]
            # Where failures decide, the means may say otherwise, and then no sentence says that they moved.
            moved = {-0.051: word not in (WORSE, SAME, NOT_SHOWN, UNDECIDED, TOO_FEW), 0.051: word == WORSE}
            assert (" lowers " in text or " raises " in text) == moved.get(difference, False)


def test_pairs_of_one_family_say_so() -> None:
    first, second = finding(FAMILY).splitlines()
    assert "p = .016 after Holm over 2 pairs, 8 seeds), but 5-shot (centroid) may have fallen" in first
    assert second.endswith(
        "p = .250 after Holm over 2 pairs, 8 seeds; simclr+sigreg[lambda1=0.5]: 2 of 8 runs failed; "
        "simclr+sigreg[lambda1=0.5]: seed 8 missing): a difference is not shown."
    )


def test_what_seeds_can_reach_is_said_before_they_are_trained() -> None:
    pairs = [("simclr+dsa", "simclr"), ("byol", "simclr"), ("byol+dsa", "simclr"), ("byol+dsa", "byol")]
    assert reach(pairs, 6) == [
        "warning: 3 pairs against simclr, 6 seeds: p after Holm cannot be below .094, so that none can reach .05; "
        "7 seeds or fewer arms (6 seeds are enough for 1 pair) would do",
        "1 pair against byol, 6 seeds: p can be as small as .031",
    ]
    assert reach(pairs[:3], 7) == ["3 pairs against simclr, 7 seeds: p after Holm can be as small as .047"]
    # Five seeds are not enough for any pair.
    assert reach(pairs[3:], 5) == [
        "warning: 1 pair against byol, 5 seeds: p cannot be below .062, so that none can reach .05; 6 seeds would do"
    ]


@pytest.mark.parametrize("n_seeds", range(2, 12))
def test_what_can_be_reached_is_what_the_best_of_data_reaches(n_seeds: int) -> None:
    best = sign_flip_p([-1.0 - 0.01 * seed for seed in range(n_seeds)])
    for family in range(1, 12):
        reached = max(holm([best] * family)) < 0.05
        assert reached == (not reach([(f"a{k}", "b") for k in range(family)], n_seeds)[0].startswith("warning"))
        assert reached == (family <= largest_family(n_seeds))
        assert reached == (would_do(n_seeds - 1, family) == n_seeds)


def test_departures_from_a_declaration_are_a_line_each() -> None:
    held = Declaration(setting={}, specs=("simclr", "simclr+dsa"), seeds=(0, 1), primary="cdnv", guards=("knn",),
                       margins=(0.01,), smallest_effect=0.05, runs_seen=12, utc="2026-01-31T12")  # fmt: skip
    now = replace(held, primary="knn", seeds=(0, 1, 2, 3))
    assert declared(deviations(held, now, 12)).splitlines() == [
        "12 of these runs were finished when this comparison was declared.",
        "What decides was set by the first comparison of these arms here, of simclr and simclr+dsa on 2026-01-31.",
        "Primary changed from cdnv to knn after looking.",
        "2 more seeds than in it: 2, 3.",
    ]
    assert declared([]) == ""


def test_summary_is_the_golden_file_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "demo-summary.csv"
    unbounded = replace(PRIMARY, low=-math.inf, high=math.inf, spec="=1+1")
    rows = [row(PRIMARY.spec, 0, tuning="defaults"), row(PRIMARY.against, 0, tuning="by hand", labels_used="training")]
    write_summary([PRIMARY, PAIR[2], unbounded], path, extra={"dataset": "digits", "split": "test"}, rows=rows)
    assert path.read_bytes() == (GOLDEN / "summary.csv").read_bytes()
    first, second, third = csv.DictReader(io.StringIO(path.read_text()))
    assert (first["dataset"], first["layer"], first["metric"], float(first["p"])) == (
        "digits",
        "backbone",
        "cdnv",
        0.03125,
    )
    about = ("labels_used", "tuning", "labels_used_against", "tuning_against")
    assert [first[column] for column in about] == ["none", "defaults", "training", "by hand"]
    assert [third[column] for column in about] == ["", "", "training", "by hand"]
    assert second["gap_closed"] == ""
    assert (third["spec"], third["low"], third["high"]) == ("'=1+1", "-inf", "inf")
    write_summary([], path, extra={})
    assert path.read_text().startswith("spec,against,layer,probe,probe_params,metric,role,")


def test_mcnemar_is_a_line_a_pair_and_never_a_verdict() -> None:
    text = per_image({("a+dsa", "a"): [0.01, 0.5, 0.0004], ("b", "a"): []})
    assert text.splitlines()[1:] == ["a+dsa against a: p < .05 in 2 of 3 seeds (.010, .500, <.001)"]
    assert "no verdict" in text
    assert per_image({("b", "a"): []}) == ""
