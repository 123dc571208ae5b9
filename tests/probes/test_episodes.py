"""Episodes against a literal loop, and what their draws depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dsabench.probes.episodes import episodes
from dsabench.rng import numpy_generator
from dsabench.types import Features


def noisy(n: int, seed: int, classes: int = 6) -> Features:
    y = torch.arange(n) % classes
    generator = torch.Generator().manual_seed(seed)
    return Features(torch.eye(classes, 8)[y] + 0.5 * torch.randn(n, 8, generator=generator), 3 * y + 1)


TRAIN, TEST = noisy(120, 0), noisy(180, 1)


@pytest.mark.parametrize(("ways", "shots"), [(5, 1), (2, 5)])
def test_a_literal_loop_agrees(ways: int, shots: int) -> None:
    x, q = (split.x.double().numpy() for split in (TRAIN, TEST))
    x, q = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, q))
    y, t = ((split.y.numpy() - 1) // 3 for split in (TRAIN, TEST))
    accuracies = []
    for number in range(40):
        draw = numpy_generator(7, "episodes", ways, shots, number)
        chosen = draw.choice(list(range(6)), ways, replace=False)
        supports = [draw.choice(np.flatnonzero(y == c), shots, replace=False) for c in chosen]
        queries = [draw.choice(np.flatnonzero(t == c), 4, replace=False) for c in chosen]
        right = 0
        for way, own in enumerate(queries):
            for query in own:
                distances = [np.sum((q[query] - x[support].mean(axis=0)) ** 2) for support in supports]
                right += int(np.argmin(distances)) == way
        accuracies.append(right / (4 * ways))
    found = episodes(TRAIN, TEST, TEST, seed=7, ways=ways, shots=shots, queries=4, episodes=40)
    mean, half = found.scores
    assert mean.value == pytest.approx(np.mean(accuracies), abs=1e-12)
    assert half.value == pytest.approx(1.96 * np.std(accuracies, ddof=1) / np.sqrt(40), abs=1e-12)
    assert (mean.metric, half.metric, half.higher_is_better) == ("accuracy", "ci95", None)
    assert mean.params == half.params == {"ways": ways, "shots": shots, "queries": 4, "episodes": 40}


def test_arms_with_one_seed_meet_the_same_episodes() -> None:
    # Features apart from each other by a rotation give equal answers only where the same samples are drawn.
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(2))).Q
    turned = [Features(split.x @ rotation, split.y) for split in (TRAIN, TEST)]
    ours, theirs = (episodes(a, a, b, seed=3, episodes=30) for a, b in ((TRAIN, TEST), turned))
    assert ours.scores[0].value == pytest.approx(theirs.scores[0].value, abs=0.01)
    assert episodes(TRAIN, TRAIN, TEST, seed=4, episodes=30).scores != ours.scores


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match=r"7 ways need as many classes .* got 6"):
        episodes(TRAIN, TEST, TEST, seed=0, ways=7)
    with pytest.raises(ValueError, match="with 21 training"):
        episodes(TRAIN, TEST, TEST, seed=0, shots=21)
    with pytest.raises(ValueError, match="at least 2 ways"):
        episodes(TRAIN, TEST, TEST, seed=0, ways=1)
