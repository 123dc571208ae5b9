"""The long tail: how many samples of each class, balanced accuracy, and the probes that are fitted on them."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from dsabench.probes.knn import knn
from dsabench.probes.longtail import balanced, longtail, unbalanced
from dsabench.types import Features


def test_the_counts_fall_exponentially_from_the_smallest_class_and_no_class_is_lost() -> None:
    y = torch.cat([torch.full((n,), label) for label, n in enumerate((80, 100, 90, 85, 400))])
    kept = unbalanced(y, 16, seed=0)
    assert torch.equal(kept, kept.unique())
    assert sorted(torch.bincount(y[kept]).tolist()) == [5, 10, 20, 40, 80]
    assert torch.bincount(y[unbalanced(y, 1000, seed=0)]).min() == 1
    assert torch.bincount(y[unbalanced(y, 1, seed=0)]).tolist() == [80] * 5
    assert torch.equal(kept, unbalanced(y, 16, seed=0))
    heads = {int(torch.bincount(y[unbalanced(y, 16, seed=seed)]).argmax()) for seed in range(12)}
    assert len(heads) > 2


def test_balanced_accuracy_is_that_of_scikit_learn() -> None:
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        y, said = (torch.randint(4, (50,), generator=draw) * 5 - 3 for _ in range(2))
        assert balanced(said, y) == pytest.approx(balanced_accuracy_score(y.numpy(), said.numpy()), abs=1e-12)


def test_the_probes_are_those_of_the_subset() -> None:
    draw = torch.Generator().manual_seed(1)
    y = torch.arange(300) % 5
    data = Features(torch.eye(5, 8)[y] + 0.6 * torch.randn(300, 8, generator=draw), y)
    train, test = Features(data.x[:200], 2 * y[:200]), Features(data.x[200:], 2 * y[200:])
    result = longtail(train, test, test, seed=3, ratio=20)
    kept = unbalanced(y[:200], 20, 3)
    (answer,) = knn(Features(train.x[kept], train.y[kept]), test, test, seed=3).answers
    assert [a.params for a in result.answers] == [{"classifier": c, "ratio": 20} for c in ("linear", "knn")]
    assert torch.equal(result.answers[1].predicted, answer.predicted)
    for score, said in zip(result.scores, result.answers, strict=True):
        assert (score.metric, score.params) == ("balanced_accuracy", said.params)
        assert score.value == balanced(said.predicted[0], test.y)
