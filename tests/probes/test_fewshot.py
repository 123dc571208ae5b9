"""The few-label probe against scikit-learn on its own draws, and what the draws depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

import dsabench.probes.fewshot as module
from dsabench.probes.base import scores_of
from dsabench.probes.fewshot import DRAWS, SHOTS, draw, members_of
from dsabench.types import Features, Score


def noisy(n: int, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    return Features(torch.eye(3, 6)[y] + 0.6 * torch.randn(n, 6, generator=generator), y)


TRAIN, TEST = noisy(90, 0), noisy(120, 1)
MEMBERS = members_of(TRAIN.y)


def fewshot(train: Features, val: Features, test: Features, *, seed: int, **options: int) -> list[Score]:
    return scores_of(module.fewshot(train, val, test, seed=seed, **options), test.y)


@pytest.mark.parametrize("shots", SHOTS)
def test_both_classifiers_agree_with_scikit_learn(shots: int) -> None:
    x_train, x_test = normalize(TRAIN.x.double()), normalize(TEST.x.double())
    expected: dict[str, list[float]] = {"centroid": [], "logistic": []}
    for resample in range(DRAWS):
        drawn = draw(MEMBERS, shots, 4, resample).numpy()
        centroid = KNeighborsClassifier(1).fit(x_train[drawn].mean(axis=1), range(3))
        logistic = LogisticRegression(tol=1e-9).fit(x_train[drawn.ravel()], TRAIN.y.numpy()[drawn.ravel()])
        expected["centroid"].append(centroid.score(x_test, TEST.y.numpy()))
        expected["logistic"].append(logistic.score(x_test, TEST.y.numpy()))
    got = {s.params["classifier"]: s.value for s in fewshot(TRAIN, TEST, TEST, seed=4) if s.params["shots"] == shots}
    assert got == pytest.approx({name: np.mean(values) for name, values in expected.items()}, abs=1e-4)


def test_scores_come_as_shots_by_classifier_and_more_labels_help() -> None:
    scores = fewshot(TRAIN, TEST, TEST, seed=0)
    assert [(s.metric, s.params) for s in scores] == [
        ("accuracy", {"classifier": classifier, "shots": shots})
        for shots in (1, 5, 10)
        for classifier in ("centroid", "logistic")
    ]
    for classifier in range(2):
        one, five, ten = (s.value for s in scores[classifier::2])
        assert one < five < ten


def test_a_draw_has_the_right_classes_without_repetition_and_reads_labels_alone() -> None:
    drawn = draw(MEMBERS, 10, 0, 0)
    assert torch.equal(TRAIN.y[drawn], torch.arange(3)[:, None].expand(3, 10))
    assert len(set(drawn.flatten().tolist())) == 30
    assert torch.equal(drawn, draw(MEMBERS, 10, 0, 0))
    others = [draw(MEMBERS, 10, 1, 0), draw(MEMBERS, 10, 0, 1)]
    assert not any(torch.equal(drawn, other) for other in others)


def test_another_seed_is_another_score() -> None:
    values = [[s.value for s in fewshot(TRAIN, TEST, TEST, seed=seed)] for seed in (0, 1)]
    assert values[0] != values[1]


def test_shots_that_a_class_lacks_are_left_out_with_a_warning() -> None:
    few = Features(TRAIN.x[:21], TRAIN.y[:21])
    with pytest.warns(UserWarning, match="10 labels a class out: a class has only 7"):
        scores = fewshot(few, TEST, TEST, seed=0)
    assert {s.params["shots"] for s in scores} == {1, 5}


def test_chunks_of_regressions_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fewshot(TRAIN, TEST, TEST, seed=0)
    monkeypatch.setattr("dsabench.probes.fewshot.WORKSPACE_BYTES", 30_000)
    assert fewshot(TRAIN, TEST, TEST, seed=0) == whole


def test_fits_that_did_not_converge_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsabench.probes.logistic.MAX_ITERATIONS", 1)
    with pytest.warns(UserWarning, match="50 of 50 logistic fits of the fewshot probe did not converge"):
        fewshot(TRAIN, TEST, TEST, seed=0)


def test_members_are_positions_in_their_order() -> None:
    y = torch.randint(7, (500,), generator=torch.Generator().manual_seed(0))
    expected = [np.flatnonzero(y.numpy() == label) for label in range(7)]
    assert all(np.array_equal(*pair) for pair in zip(members_of(y), expected, strict=True))


def test_blocks_of_queries_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fewshot(TRAIN, TEST, TEST, seed=0)
    monkeypatch.setattr(module, "QUERY_ROWS", 17)
    assert fewshot(TRAIN, TEST, TEST, seed=0) == whole


def test_another_number_of_draws_is_said() -> None:
    answers = module.fewshot(TRAIN, TEST, TEST, seed=0, draws=3).answers
    usual = module.fewshot(TRAIN, TEST, TEST, seed=0).answers
    for few, all_draws in zip(answers, usual, strict=True):
        assert few.params == {**all_draws.params, "draws": 3}
        assert torch.equal(few.predicted, all_draws.predicted[:3])


def test_one_class_is_refused() -> None:
    one = Features(TRAIN.x, torch.zeros_like(TRAIN.y))
    with pytest.raises(ValueError, match="at least 2 classes"):
        fewshot(one, one, one, seed=0)
