"""What every probe promises: bounds, repeatability, invariances, and refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from dsabench.probes import PROBES
from dsabench.probes.base import accuracy_of, scores_of
from dsabench.registry import load
from dsabench.types import Features, ProbeResult, Score

Probe = Callable[..., ProbeResult]


def blobs(n: int, *, seed: int, apart: float = 1.0, classes: int = 4, dim: int = 6) -> Features:
    """Gaussian classes whose means depend on nothing but `apart`; labels in turn."""
    means = apart * torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    y = torch.arange(n) % classes
    return Features(means[y] + torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), y)


def splits(apart: float = 1.0, classes: int = 4) -> tuple[Features, Features, Features]:
    sizes = ((120, 1), (80, 2), (200, 3))
    train, val, test = (blobs(n, seed=seed, apart=apart, classes=classes) for n, seed in sizes)
    return train, val, test


# Those that answer; what others make of the fit of one of them is tested beside it.
@pytest.fixture(params=[name for name, entry in PROBES.items() if entry.tier == "core"])
def probe(request: pytest.FixtureRequest) -> Probe:
    return load(PROBES, "probe", request.param)


def scores(probe: Probe, train: Features, val: Features, test: Features, seed: int = 0) -> list[Score]:
    return scores_of(probe(train, val, test, seed=seed), test.y)


def accuracies(found: list[Score]) -> list[float]:
    return [score.value for score in found if score.metric == "accuracy"]


@pytest.mark.parametrize("classes", [2, 4])
def test_classes_far_apart_are_told_apart_perfectly(probe: Probe, classes: int) -> None:
    values = accuracies(scores(probe, *splits(apart=50, classes=classes)))
    assert values
    assert set(values) == {1.0}


def test_shuffled_labels_give_chance(probe: Probe) -> None:
    train, val, test = splits(apart=3)
    test = Features(test.x, test.y[torch.randperm(200, generator=torch.Generator().manual_seed(0))])
    # Chance is 1/4; 0.15 is five standard errors of 200 draws.
    assert all(abs(value - 0.25) < 0.15 for value in accuracies(scores(probe, train, val, test)))


def test_a_probe_repeats_itself_and_leaves_the_global_generators_alone(probe: Probe) -> None:
    data, before = splits(), torch.get_rng_state()
    assert scores(probe, *data, seed=3) == scores(probe, *data, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_labels_are_names(probe: Probe) -> None:
    data = splits()
    names = torch.tensor([-5, 7, 70, 2**40])
    renamed = [Features(split.x, names[split.y]) for split in data]
    assert scores(probe, *renamed) == scores(probe, *data)
    for ours, theirs in zip(probe(*renamed, seed=0).answers, probe(*data, seed=0).answers, strict=True):
        assert torch.equal(ours.predicted, names[theirs.predicted])


def test_scale_of_all_features_does_not_matter(probe: Probe) -> None:
    data = splits()
    scaled = [Features(8 * split.x, split.y) for split in data]
    assert scores(probe, *scaled) == scores(probe, *data)


@pytest.mark.parametrize("name", ["knn", "knn5", "fewshot"])
def test_rotation_does_not_matter(name: str) -> None:
    data, run = splits(), load(PROBES, "probe", name)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(5)).double()).Q
    rotated = [Features(split.x.double() @ rotation, split.y) for split in data]
    assert accuracies(scores(run, *rotated)) == pytest.approx(accuracies(scores(run, *data)), abs=1e-3)


def test_test_labels_reach_the_score_alone(probe: Probe) -> None:
    train, val, test = splits()
    flipped = Features(test.x, (test.y + 1) % 4)
    results = [probe(train, val, labels, seed=0) for labels in (test, flipped)]
    for ours, theirs in zip(*(result.answers for result in results), strict=True):
        assert torch.equal(ours.predicted, theirs.predicted)
    both = [scores(probe, train, val, labels) for labels in (test, flipped)]
    assert [s.params for s in both[0]] == [s.params for s in both[1]]
    assert [s.value for s in both[0] if s.metric != "accuracy"] == [s.value for s in both[1] if s.metric != "accuracy"]
    assert all(a > b for a, b in zip(*map(accuracies, both), strict=True))


def test_answers_are_classes_of_every_image_and_every_draw(probe: Probe) -> None:
    train, val, test = splits()
    answers = probe(train, val, test, seed=0).answers
    assert answers
    for answer in answers:
        draws = 50 if "shots" in answer.params else 1
        assert (answer.predicted.shape, answer.predicted.dtype) == ((draws, len(test.y)), torch.int64)
        assert set(answer.predicted.unique().tolist()) <= set(train.y.tolist())
        # The mean over draws of the share of images, as NumPy sums it.
        by_draw = [float((drawn == test.y).double().mean()) for drawn in answer.predicted]
        assert accuracy_of(answer, test.y) == float(np.mean(by_draw))


def test_a_probe_reads_what_it_declares_alone(probe: Probe, request: pytest.FixtureRequest) -> None:
    needs = PROBES[request.node.callspec.params["probe"]].needs
    train, val, test = splits()
    broken = Features(val.x * math.nan, val.y + 100)
    if "val" in needs:
        with pytest.raises(ValueError, match="val"):
            probe(train, broken, test, seed=0)
    else:
        assert scores_of(probe(train, broken, test, seed=0), test.y) == scores(probe, train, val, test)


def test_wrong_input_is_refused(probe: Probe) -> None:
    train, val, test = splits()
    for wrong, text in [
        (Features(test.x, test.y + 1), "test has samples of class 4"),
        (Features(test.x, test.y[:-1]), "test features"),
        (Features(test.x[:, :3], test.y), "test features"),
        (Features(test.x[:0], test.y[:0]), "no test features"),
        (Features(test.x * math.nan, test.y), "test features must be finite"),
    ]:
        with pytest.raises(ValueError, match=text):
            probe(train, val, wrong, seed=0)
    with pytest.raises(ValueError, match="no train features"):
        probe(Features(train.x[:0], train.y[:0]), val, test, seed=0)
