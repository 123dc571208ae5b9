"""Probes: how well frozen features answer for the classes.

A probe is a function `(train, val, test, *, seed, **options) -> ProbeResult` of three `Features`. It normalises for
itself, takes the set of classes from `train` and chooses what it chooses on `val`. No answer depends on the
labels of `test`; accuracy derives from the answers, in `dsabench.probes.base.accuracy_of`.
"""

from __future__ import annotations

from dsabench.evaluators import Evaluator

# Part of every row: a change that moves a probe's numbers counts it up.
PROBE_VERSION = "2"

PROBES: dict[str, Evaluator] = {
    "knn": Evaluator(
        "dsabench.probes.knn:knn",
        "weighted vote of the 20 nearest neighbours by cosine",
        label="kNN",
        higher_is_better=True,
        source="1805.01978",
        kind="probe",
        needs=("train", "test"),
        options={"k": 20, "temperature": 0.07},
        cost="O(N M D)",
    ),
    "knn5": Evaluator(
        "dsabench.probes.knn:knn5",
        "majority of the 5 nearest neighbours by Euclidean distance",
        label="5-NN",
        higher_is_better=True,
        source="2407.13541",
        kind="probe",
        needs=("train", "test"),
        cost="O(N M D)",
    ),
    "linear": Evaluator(
        "dsabench.probes.linear:linear",
        "logistic regression on standardised features",
        label="linear",
        higher_is_better=True,
        source="1805.08974",
        kind="probe",
        needs=("train", "val", "test"),
        cost="O(N D C)",
    ),
    "fewshot": Evaluator(
        "dsabench.probes.fewshot:fewshot",
        "1, 5 and 10 labels a class, mean of 50 draws",
        label="few-shot",
        higher_is_better=True,
        source="2003.11539",
        kind="probe",
        needs=("train", "test"),
        options={"draws": 50},
        cost="O(M C D)",
    ),
    "calibration": Evaluator(
        "dsabench.probes.linear_scores:calibration",
        "calibration error (15 bins) and log-likelihood of the linear probe",
        label="calibration",
        higher_is_better=False,
        source="1706.04599",
        kind="probe",
        needs=("train", "val", "test"),
        tier="extra",
        cost="O(N D C)",
    ),
    "nc4": Evaluator(
        "dsabench.probes.linear_scores:nc4",
        "agreement of the nearest class mean with the linear probe",
        label="NC4",
        higher_is_better=True,
        source="2008.08186",
        kind="probe",
        needs=("train", "val", "test"),
        tier="extra",
        cost="O(N D C)",
    ),
}
