"""Calibration and NC4 against scikit-learn's fits and literal sums."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from dsabench.probes.linear import C_GRID, linear
from dsabench.probes.linear_scores import _ece, calibration, nc4
from dsabench.types import Features, ProbeResult


def splits(number: int) -> list[Features]:
    """Train, validation and test features with gaps in the ids; a class of one sample, more dimensions, scales."""
    draw = np.random.default_rng(number)
    classes, dim = int(draw.integers(2, 5)), int(draw.integers(2, 8)) if number % 4 else 60
    means, scale = draw.normal(size=(classes, dim)), (1.0, 1e6, 1e-6)[number % 3]
    names = torch.tensor(np.cumsum(draw.integers(1, 1000, classes)))

    def made(n: int) -> Features:
        y = draw.integers(0, classes, n)
        y = np.where(y == 0, 1, y) if number % 5 == 0 else y
        y[:classes] = range(classes)
        x = scale * (means[y] + draw.normal(size=(n, dim)) + 0.2)
        return Features(torch.from_numpy(x).float(), names[y])

    return [made(n) for n in (50, 30, 70)]


def probabilities(train: Features, test: Features, c: float) -> np.ndarray:
    scaler = StandardScaler().fit(train.x.double().numpy())
    model = LogisticRegression(C=c, tol=1e-10, max_iter=20_000).fit(scaler.transform(train.x.double()), train.y)
    return model.predict_proba(scaler.transform(test.x.double()))


def values(result: ProbeResult) -> dict[str, float]:
    assert not result.answers
    return {score.metric: score.value for score in result.scores}


def literal_ece(p: np.ndarray, y: np.ndarray) -> float:
    total = 0.0
    for b in range(15):
        inside = [i for i in range(len(y)) if b / 15 < p[i].max() <= (b + 1) / 15]
        if inside:
            accuracy = np.mean([p[i].argmax() == y[i] for i in inside])
            total += len(inside) / len(y) * abs(accuracy - np.mean([p[i].max() for i in inside]))
    return total


@pytest.mark.parametrize("number", range(24))
def test_calibration_and_agreement_are_those_of_the_linear_probe(number: int) -> None:
    train, val, test = splits(number)
    chosen_c = linear(train, val, test, seed=0).scores[0].value
    assert chosen_c in C_GRID
    p = probabilities(train, test, chosen_c)
    classes = np.unique(train.y.numpy())
    codes = np.searchsorted(classes, test.y.numpy())
    found = values(calibration(train, val, test, seed=0))
    # The probe's fits stop at a gradient of 1e-6.
    assert found["nll"] == pytest.approx(log_loss(codes, p, labels=range(len(classes))), rel=1e-3)
    assert found["ece"] == pytest.approx(literal_ece(p, codes), abs=0.02)
    centroids = NearestCentroid().fit(train.x.double().numpy(), train.y)
    agreed = centroids.predict(test.x.double().numpy()) == classes[p.argmax(axis=1)]
    assert values(nc4(train, val, test, seed=0))["nc4"] == pytest.approx(agreed.mean(), abs=1.01 / len(agreed))


def test_blocks_do_not_matter_to_the_nearest_class_means(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = values(nc4(*splits(2), seed=0))
    monkeypatch.setattr("dsabench.probes.linear_scores.BLOCK_ROWS", 7)
    assert values(nc4(*splits(2), seed=0)) == whole


def test_ece_is_the_literal_sum() -> None:
    for seed in range(200):
        draw = np.random.default_rng(seed)
        logits = torch.from_numpy(draw.normal(size=(40, 3)) * 10 ** draw.uniform(-2, 2))
        y = draw.integers(0, 3, 40)
        assert _ece(logits, torch.from_numpy(y)) == pytest.approx(literal_ece(logits.softmax(1).numpy(), y), abs=1e-9)


@pytest.mark.parametrize("probe", [calibration, nc4])
def test_wrong_input_is_refused(probe: Callable[..., ProbeResult]) -> None:
    train, val, test = splits(1)
    for wrong, text in [
        (Features(test.x * math.nan, test.y), "test features must be finite"),
        (Features(test.x, test.y + 1), "test has samples of class"),
    ]:
        with pytest.raises(ValueError, match=text):
            probe(train, val, wrong, seed=0)
    one = Features(train.x, 0 * train.y)
    with pytest.raises(ValueError, match="at least 2 classes"):
        probe(one, one, one, seed=0)
