"""Arms image by image: what the stored answers of paired runs say of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dsabench.config.eval_config import EvalConfig
from dsabench.config.run_config import RunConfig
from dsabench.config.spec import Part
from dsabench.data import Datasets
from dsabench.evaluation.encoder import run_encoder
from dsabench.evaluation.evaluate import Evaluation
from dsabench.evaluation.evaluators import asked
from dsabench.stats import Comparison, mcnemar
from dsabench.training.store import Store


def correct_answers(
    planned: Sequence[RunConfig], probe: Part, config: EvalConfig, store: Store, datasets: Datasets
) -> dict[tuple[str, int], np.ndarray[Any, Any]]:
    """Which images (R, N) bool the probe gets right on the first layer of an evaluation, by spec and seed.

    Of the finished runs alone, from their stored answers.
    """
    correct = {}
    for one in planned:
        run = store.run(one)
        if run.state["status"] == "finished":
            what = replace(config, layers=config.layers[:1])
            (layer,) = Evaluation(run_encoder(run, datasets), what, datasets).layers()
            answers = layer.answers(probe)
            correct[str(one.spec), one.seed] = answers.predicted[0] == answers.y
    return correct


def mcnemar_by_seed(
    planned: Sequence[RunConfig],
    comparisons: Sequence[Comparison],
    config: EvalConfig,
    store: Store,
    datasets: Datasets,
) -> dict[tuple[str, str], list[float]]:
    """McNemar's p between the kNN answers of each pair of arms, seed by seed, image by image.

    It stands beside the verdict and is never one: test images are not seeds. Empty where kNN was not asked for.
    """
    probe = next((part for part in asked(config.probes) if part.name == "knn"), None)
    if probe is None:
        return {}
    correct = correct_answers(planned, probe, config, store, datasets)
    seeds = sorted({one.seed for one in planned})
    return {
        (spec, against): [
            mcnemar(correct[spec, seed][0].tolist(), correct[against, seed][0].tolist())
            for seed in seeds
            if (spec, seed) in correct and (against, seed) in correct
        ]
        for spec, against in dict.fromkeys((c.spec, c.against) for c in comparisons)
    }
