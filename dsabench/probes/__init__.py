"""Probes: how well frozen features answer for the classes.

A probe is a function `(train, val, test, *, seed) -> list[Score]` of three `Features`. It normalises for itself, takes
the set of classes from `train`, chooses what it chooses on `val`, and reads the labels of `test` for the score alone.
"""

from __future__ import annotations

from dsabench.registry import Entry

# Part of every row: a change that moves a probe's numbers counts it up.
PROBE_VERSION = "2"

PROBES: dict[str, Entry] = {
    "knn": Entry("dsabench.probes.knn:knn", "weighted vote of the 20 nearest neighbours by cosine", True),
    "knn5": Entry("dsabench.probes.knn:knn5", "majority of the 5 nearest neighbours by Euclidean distance", True),
    "linear": Entry("dsabench.probes.linear:linear", "logistic regression on standardised features", True),
    "fewshot": Entry("dsabench.probes.fewshot:fewshot", "1, 5 and 10 labels a class, mean of 50 draws", True),
}
