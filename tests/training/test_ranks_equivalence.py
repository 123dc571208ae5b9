"""A run on several processes is the run on one: its losses, its gradients and what it ends with.

All of it, in both precisions and with every variant, is `python -m benchmarks.equivalence`.
"""

from __future__ import annotations

import pytest

from benchmarks.equivalence import VARIANTS, Case, Difference, measured, trainable

# Every method in double precision, where nothing but rounding is left; the variants take turns.
CASES = [Case(method, list(VARIANTS)[i % len(VARIANTS)], "float64") for i, method in enumerate(trainable())]


@pytest.fixture(scope="module")
def found() -> dict[Case, Difference]:
    # Three do not divide the queues, nor the neighbours' shares.
    return dict(zip(CASES, measured(CASES, 3), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method}-{case.variant}")
def test_three_processes_train_as_one_does(found: dict[Case, Difference], case: Case) -> None:
    assert max(found[case]) < 1e-12
