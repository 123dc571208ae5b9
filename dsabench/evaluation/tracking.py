"""What a run under way says on the validation split, for its log: nothing of the run moves by it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

from dsabench.backbones.base import evaluated
from dsabench.config.spec import Part
from dsabench.evaluation.encoder import module_encoder
from dsabench.evaluation.features import FeatureStore, splits
from dsabench.evaluation.inputs import Inputs
from dsabench.evaluation.words import asked
from dsabench.probes.base import scores_of
from dsabench.training.state import State
from dsabench.types import Score


def tracker(words: Sequence[str], every: int) -> Callable[[State], dict[str, float]] | None:
    """A function that measures probes and metrics of a state every so many epochs and after the last.

    It returns `val_NAME` for each value, as `eval --split val` would give it, and `track_s`, the seconds it took, which
    are no part of the run's `wall_s`; nothing in other epochs. None where no words are given.
    """
    if not words:
        return None
    parts = asked(words)

    def track(state: State) -> dict[str, float]:
        epoch = state.position.step // state.steps_per_epoch
        if epoch % every and state.position.step < state.total:
            return {}
        began = time.monotonic()
        with evaluated(state.method.backbone) as backbone:
            encoder = module_encoder(backbone, state.config.label, state.dataset.facts, "none")
            store = FeatureStore(encoder, state.dataset, state.fabric.device)
            inputs = Inputs(*splits(store, Part("backbone"), "val"))
        found: dict[str, float] = {}
        for part in parts:
            try:
                scores = scores_of(inputs.result(part, state.config.seed), inputs.test.y)
            except ValueError:
                # Not defined for these features, as where they have collapsed: the cell stays empty.
                continue
            found |= {name: value for name, value in named(part, scores) if math.isfinite(value)}
        return {**found, "track_s": time.monotonic() - began}

    return track


def named(part: Part, scores: Sequence[Score]) -> Iterator[tuple[str, float]]:
    """The values of an evaluator with their columns in the log: `val_knn`, `val_fewshot_centroid_5`."""
    for score in scores:
        words = ["val", part.name]
        if score.metric not in ("accuracy", part.name):
            words.append(score.metric)
        elif len(scores) > 1:
            words += map(str, score.params.values())
        yield "_".join(words), score.value
