"""Arms image by image: what the stored answers and features of paired runs say of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from dsabench.config.eval_config import EvalConfig
from dsabench.config.run_config import RunConfig
from dsabench.config.spec import Part
from dsabench.data import Datasets
from dsabench.evaluation.encoder import run_encoder
from dsabench.evaluation.evaluate import Evaluation, LayerEvaluation
from dsabench.evaluation.words import asked
from dsabench.evaluators import CROWDING
from dsabench.stats import Comparison, mcnemar
from dsabench.stats.bootstrap import answers_interval, features_interval, weighted_cdnv
from dsabench.training.store import Store

Array = np.ndarray[Any, Any]


class Pairs:
    """The finished runs of a comparison, on the first layer of an evaluation; nothing is searched twice."""

    def __init__(self, planned: Sequence[RunConfig], config: EvalConfig, store: Store, datasets: Datasets) -> None:
        self.planned, self.store, self.datasets = planned, store, datasets
        self.config = replace(config, layers=config.layers[:1])
        self.parts = asked(config.probes)

    @cached_property
    def finished(self) -> dict[tuple[str, int], LayerEvaluation]:
        """What was evaluated of each run that finished, by spec and seed."""
        found = {}
        for one in self.planned:
            run = self.store.run(one)
            if run.state["status"] == "finished":
                (layer,) = Evaluation(run_encoder(run, self.datasets), self.config, self.datasets).layers()
                found[str(one.spec), one.seed] = layer
        return found

    def paired(self, spec: str, against: str) -> list[tuple[LayerEvaluation, LayerEvaluation]]:
        """Both arms of every seed that finished in both."""
        seeds = sorted({seed for arm, seed in self.finished if arm == spec})
        return [
            (self.finished[spec, seed], self.finished[against, seed])
            for seed in seeds
            if (against, seed) in self.finished
        ]

    def correct(self, layer: LayerEvaluation, probe: Part, params: str) -> Array:
        """How right a probe's answers under these parameters are for each image, (N,) float64 in [0, 1]."""
        right: Array = layer.answers(probe).correct(params).mean(axis=0)
        return right

    def mcnemar(self, comparisons: Sequence[Comparison]) -> dict[tuple[str, str], list[float]]:
        """McNemar's p between the kNN answers of each pair of arms, seed by seed, image by image.

        It stands beside the verdict and is never one: test images are not seeds. Empty where kNN was not asked for.
        """
        probe = next((part for part in self.parts if part.name == "knn"), None)
        if probe is None:
            return {}
        return {
            (spec, against): [
                mcnemar(*(layer.answers(probe).predicted[0][0] == layer.answers(probe).y for layer in pair))
                for pair in self.paired(spec, against)
            ]
            for spec, against in dict.fromkeys((c.spec, c.against) for c in comparisons)
        }

    def with_images(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """The comparisons, the primary ones with an interval that resamples seeds and test images.

        Accuracies are resampled from the stored answers and CDNV from the stored features; others are left as they are.
        """
        return [self._resampled(one) if one.role == "primary" else one for one in comparisons]

    def _resampled(self, comparison: Comparison) -> Comparison:
        key, pairs = comparison.key, self.paired(comparison.spec, comparison.against)
        if not pairs or key.layer != str(self.config.layers[0]):
            return comparison
        y = pairs[0][0].inputs.test.y
        if key.metric == "accuracy":
            probe = next(part for part in self.parts if part.name == key.probe)
            ours, theirs = (
                np.stack([self.correct(pair[side], probe, key.params) for pair in pairs]) for side in (0, 1)
            )
            low, high = answers_interval(ours, theirs, y.numpy())
        elif (key.probe, key.metric) == (CROWDING, "cdnv") and bool((torch.bincount(y) != 1).all()):
            x, x_against = ([pair[side].inputs.test.x for pair in pairs] for side in (0, 1))
            low, high = features_interval(weighted_cdnv, x, x_against, y)
        else:
            return comparison
        return replace(comparison, images_low=low, images_high=high)
