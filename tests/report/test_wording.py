import math

import pytest
from arms import MEASURED

from dsabench.report import label
from dsabench.report.table import Difference, Interval, Mean, Number, PValue
from dsabench.report.wording import amount, broken, fitted, short_names, told, unit_of, written


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
        ("cdnv", 0.168, -0.051, "-.051"),
        ("cdnv", 3.36, 0.0004, "+.0004"),
        ("cdnv", 0.168, -0.0, "0"),
        ("rankme", 23.4, -1.5, "-1.50"),
        ("rankme", 512.0, 3.0, "+3.0"),
        ("feature_std", 0.0021, 0.0003, "+.0003"),
        ("accuracy", 0.98, 0.006, "+.6"),
        ("accuracy", 0.98, 0.0003, "+.03"),
        ("cdnv", math.nan, math.inf, "+inf"),
    ],
)
def test_no_difference_is_rounded_to_nothing(metric: str, mean: float, difference: float, text: str) -> None:
    assert written(Difference(difference, unit_of(metric), mean)) == text


def test_short_texts() -> None:
    assert written(Mean(0.117, 0.00849, 2)) == ".117±.008"
    assert written(Mean(0.983, 0.00424, 2, "%")) == "98.3±.4"
    assert written(Mean(0.5, 0.566, 2, "%")) == "50.0±56.6"
    assert written(Mean(-0.5, 0.0, 2), plus_minus="/") == "-.500/.000"
    assert [written(p and PValue(p)) for p in (None, 0.0004, 0.03125, 1.0)] == ["", "<.001", ".031", "1.000"]
    assert broken("barlow_twins+dsa", 9) == "barlow_\ntwins+dsa"
    assert broken("barlow_twins+dsa", 16) == "barlow_twins+dsa"
    tuned = "simclr[lr=0.0043,weight_decay=0.00157]+dsa[k=27]"
    # Neither a number nor the name of an option is cut where there is room for it.
    assert broken(tuned, 24) == "simclr[lr=0.0043,\nweight_decay=0.00157]\n+dsa[k=27]"
    assert broken(tuned, 14) == "simclr\n[lr=0.0043,\nweight_decay=\n0.00157]+dsa\n[k=27]"
    assert fitted(f"{tuned} against byol", 24) == f"{broken(tuned, 24)} against byol"
    assert fitted(f"{tuned} against byol", 48) == f"{tuned} against byol"
    assert short_names("a[x=1]+dsa", "a[x=1]") == ("a+dsa", "a")
    assert short_names("a+dsa[x=1]", "a+dsa[x=2]") == ("spec", "against")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number(0.9916, "%"), "99.2"),
        (Number(1.0, "%"), "100.0"),
        (Number(0.13456), ".135"),
        (Number(-0.13456), "-.135"),
        (Number(3.8041), "3.80"),
        (Number(35.496), "35.5"),
        (Number(512.4), "512"),
        (Number(0.0021), ".0021"),
        (Number(0.0004), ".00040"),
        (Number(-0.0), ".000"),
        (Number(1e-9), "1e-09"),
        (Number(1.5e30), "1.5e+30"),
        (Number(math.nan), "nan"),
        (Number(-math.inf), "-inf"),
        (Number(61.2, "s"), "61"),
        (Number(0.31, "s"), ".3"),
        (Mean(4.008, 0.2201, 6), "4.01±.22"),
        (Mean(0.131, 1e-17, 6), ".131±.000"),
        (Mean(0.131, 3.0, 6), ".13±3.00"),
        (Mean(35.65, None, 1), "35.6"),
        (Difference(0.0351, "", 4.04), "+.035"),
        (Interval(-0.002, 0.076, "", 4.04), "-.002 to +.076"),
        (Interval(0.0, 0.0021, "%", 0.99), "0 to +.2"),
        (Interval(-math.inf, math.inf, "", 1.0), "unbounded"),
        (Interval(-math.inf, -math.inf, "", 1.0), "infinite"),
        (Interval(-0.06, math.inf, "", 0.2), "-.060 to +inf"),
    ],
)
def test_one_rounding_for_numbers(number: Number | Mean | Difference | Interval, text: str) -> None:
    assert written(number) == text


def test_what_is_told_of_percentages_is_points() -> None:
    assert told(Difference(-0.021, "%", 0.9)) == "-2.1 points"
    assert told(Difference(-0.021, "", 0.9)) == "-.021"
    assert told(Interval(-math.inf, 0.01, "%", 0.9)) == "-inf to +1.0 points"
    assert told(Interval(-math.inf, math.inf, "%", 0.9)) == "unbounded"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.01, "%", "1"), (0.025, "%", "2.5"), (0.01, "", ".01"), (0.0, "", "0"), (2.5, "", "2.5")],
)
def test_a_chosen_number_keeps_its_digits(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


def test_a_mean_is_the_same_number_in_every_table() -> None:
    for value in (0.0912, 0.237, 1.2345, 4.0149, 23.44, 358.2):
        assert written(Number(value)) == written(Mean(value, value / 30, 6)).partition("±")[0]
