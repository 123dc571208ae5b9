"""Arms image by image: what the stored answers and features of paired runs say of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsabench.config.eval_config import EvalConfig
from dsabench.config.run_config import RunConfig
from dsabench.config.spec import Part
from dsabench.data import Datasets
from dsabench.evaluation.encoder import Encoder, run_encoder
from dsabench.evaluation.evaluate import Evaluation, LayerEvaluation
from dsabench.evaluation.words import asked
from dsabench.evaluators import CROWDING
from dsabench.stats import Comparison, mcnemar
from dsabench.stats.bootstrap import (
    DRAWS,
    Drawn,
    answers_interval,
    drawn_interval,
    drawn_values,
    image_weights,
    weighted_cdnv,
)
from dsabench.training.store import Store

Array = np.ndarray[Any, Any]


def finished_encoders(planned: Sequence[RunConfig], store: Store, datasets: Datasets) -> dict[tuple[str, int], Encoder]:
    """The encoder of each planned run that finished, by spec and seed."""
    runs = {(str(one.spec), one.seed): store.run(one) for one in planned}
    return {arm: run_encoder(run, datasets) for arm, run in runs.items() if run.state["status"] == "finished"}


class Pairs:
    """The `encoders` of a comparison by arm and seed, on an evaluation's first layer; nothing is searched twice."""

    def __init__(self, encoders: Mapping[tuple[str, int], Encoder], config: EvalConfig, datasets: Datasets) -> None:
        self.encoders, self.datasets = encoders, datasets
        self.config = replace(config, layers=config.layers[:1])
        self.parts = asked(config.probes)
        self._drawn: dict[tuple[str, int], Drawn] = {}

    @cached_property
    def finished(self) -> dict[tuple[str, int], LayerEvaluation]:
        """What was evaluated of each encoder."""
        return {
            arm: next(Evaluation(encoder, self.config, self.datasets).layers())
            for arm, encoder in self.encoders.items()
        }

    def seeds(self, spec: str, against: str) -> list[int]:
        """The seeds that finished in both arms."""
        return sorted(seed for arm, seed in self.finished if arm == spec and (against, seed) in self.finished)

    def paired(self, spec: str, against: str) -> list[tuple[LayerEvaluation, LayerEvaluation]]:
        """Both arms of every seed that finished in both."""
        return [(self.finished[spec, seed], self.finished[against, seed]) for seed in self.seeds(spec, against)]

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
            seeds = self.seeds(comparison.spec, comparison.against)
            low, high = drawn_interval(
                *([self.drawn(arm, seed, y) for seed in seeds] for arm in (comparison.spec, comparison.against))
            )
        else:
            return comparison
        return replace(comparison, images_low=low, images_high=high)

    def drawn(self, arm: str, seed: int, y: Tensor) -> Drawn:
        """The CDNV of a run under draws of its test images of classes (N,); a baseline of many pairs is drawn once."""
        if (arm, seed) not in self._drawn:
            weights = torch.from_numpy(image_weights(y.numpy(), DRAWS))
            self._drawn[arm, seed] = drawn_values(weighted_cdnv, self.finished[arm, seed].inputs.test.x, y, weights)
        return self._drawn[arm, seed]
