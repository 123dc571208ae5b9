"""The nearest-neighbour probes against scikit-learn and an explicit loop."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

import dsabench.probes.knn as module
from dsabench.probes.base import correct_of, scores_of
from dsabench.types import Features, Score


def noisy(n: int, seed: int) -> Features:
    """Overlapping classes far from the origin, so that neighbours and distances are put to the test."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(5, (n,), generator=generator)
    return Features(torch.eye(5, 8)[y] + 0.8 * torch.randn(n, 8, generator=generator) + 3, y)


TRAIN, TEST = noisy(300, 0), noisy(150, 1)


def knn(train: Features, test: Features, **options: float) -> Score:
    (score,) = scores_of(module.knn(train, test, test, seed=0, **options), test.y)
    return score


def knn5(train: Features, test: Features) -> Score:
    (score,) = scores_of(module.knn5(train, test, test, seed=0), test.y)
    return score


def weighted_vote(train: Features, test: Features, k: int, temperature: float) -> list[bool]:
    """Which images the vote gets right."""
    hits = []
    for query, label in zip(test.x.double(), test.y.tolist(), strict=True):
        similarity = torch.nn.functional.cosine_similarity(query[None], train.x.double()).tolist()
        votes: dict[int, float] = defaultdict(float)
        for i in sorted(range(len(similarity)), key=lambda i: -similarity[i])[:k]:
            votes[int(train.y[i])] += math.exp(similarity[i] / temperature)
        hits.append(max(votes, key=lambda c: votes[c]) == label)
    return hits


def test_knn_is_the_weighted_vote() -> None:
    score, hits = knn(TRAIN, TEST), weighted_vote(TRAIN, TEST, 20, 0.07)
    assert score.value == sum(hits) / len(hits)
    assert score.params == {"k": 20, "temperature": 0.07}
    assert 0.3 < score.value < 0.9


def test_answers_say_which_images_are_right() -> None:
    # What McNemar's test takes, image by image.
    (answer,) = module.knn(TRAIN, TEST, TEST, seed=0).answers
    assert correct_of(answer, TEST.y).tolist() == [weighted_vote(TRAIN, TEST, 20, 0.07)]


def test_options_of_knn_are_neighbours_and_temperature() -> None:
    score, hits = knn(TRAIN, TEST, k=7, temperature=0.5), weighted_vote(TRAIN, TEST, 7, 0.5)
    assert score.value == sum(hits) / len(hits) != knn(TRAIN, TEST).value
    assert score.params == {"k": 7, "temperature": 0.5}


def test_knn_with_fewer_samples_than_neighbours_lets_all_vote() -> None:
    few = Features(TRAIN.x[:8], torch.arange(8) % 5)
    assert knn(few, TEST).value == sum(weighted_vote(few, TEST, 8, 0.07)) / len(TEST.y)


def test_knn5_agrees_with_scikit_learn_up_to_ties() -> None:
    # Two classes and five votes cannot tie.
    train, test = (Features(split.x, (split.y > 1).long()) for split in (TRAIN, TEST))
    reference = KNeighborsClassifier(5).fit(train.x.numpy(), train.y.numpy())
    score = knn5(train, test)
    assert score.value == pytest.approx(reference.score(test.x.numpy(), test.y.numpy()), abs=1e-12)
    assert score.params == {"k": 5, "metric": "euclidean"}


def test_knn5_gives_a_tie_to_the_class_of_the_nearer_neighbour() -> None:
    # Two votes each for classes 2 and 1; the lone class 0 is nearest, and class 2 nearer than class 1.
    train = Features(torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [60.0]]), torch.tensor([0, 2, 1, 1, 2, 0]))
    test = Features(torch.tensor([[0.0]]), torch.tensor([2]))
    assert knn5(train, test).value == 1


def test_a_sample_finds_itself_first() -> None:
    lone = Features(TRAIN.x, torch.arange(300))
    assert knn5(lone, lone).value == 1
    assert knn(lone, lone).value == 1


def test_knn_takes_rows_of_zeros() -> None:
    zeros = Features(TRAIN.x * (torch.arange(300) > 3)[:, None], TRAIN.y)
    assert 0.3 < knn(zeros, TEST).value < 0.9
