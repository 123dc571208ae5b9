"""Single models against each other, image by image: from the answers and features of their test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dsabench.config.spec import Part
from dsabench.evaluation.evaluate import LayerEvaluation
from dsabench.evaluators import CROWDING
from dsabench.files import canonical_json
from dsabench.stats import MetricKey
from dsabench.stats.bootstrap import Floats
from dsabench.stats.weights import OF_MOMENTS, ImageComparison, Resampled, accuracy_interval, geometry_interval
from dsabench.tables.comparisons import key_of
from dsabench.tables.criteria import Criteria
from dsabench.tables.rows import Row


class Models:
    """Single models by arm: what `parts` were measured on of each that is at hand, drawn once for all its pairs."""

    def __init__(self, evaluated: Mapping[str, LayerEvaluation], parts: Sequence[Part]) -> None:
        self.evaluated, self.parts = evaluated, parts
        self._resampled: dict[str, Resampled] = {}

    def compared(
        self, arms: Mapping[str, Sequence[Row]], pairs: Sequence[tuple[str, str]], criteria: Criteria, layer: str
    ) -> list[ImageComparison]:
        """Every metric of a layer that both models of a pair have a value of, the primary one first.

        A metric without an interval is one that neither answers nor moments give, or that tables alone speak of.
        """
        found = []
        for spec, against in pairs:
            ours, theirs = (_values(arms[arm], layer) for arm in (spec, against))
            shared = [key for key in ours if key in theirs]
            primary = criteria.primary.among(shared, layer)
            for key in sorted(shared, key=lambda key: key != primary):
                value, other = ours[key].value, theirs[key].value
                assert value is not None
                assert other is not None
                low, high = self._interval(spec, against, key, value - other) or (None, None)
                better, n = ours[key].higher_is_better, ours[key].n or 0
                found.append(ImageComparison(spec, against, key, better, other, value, n, low, high, key == primary))
        return found

    def _interval(self, spec: str, against: str, key: MetricKey, difference: float) -> tuple[float, float] | None:
        if not self.evaluated.keys() >= {spec, against}:
            return None
        y = self.evaluated[spec].inputs.test.y
        if key.metric == "accuracy":
            ours, theirs = (self._correct(arm, key) for arm in (spec, against))
            return None if ours is None or theirs is None else accuracy_interval(ours, theirs, y.numpy())
        # A class of one image has no spread to resample.
        if key.probe != CROWDING or key.metric not in OF_MOMENTS or bool((torch.bincount(y) == 1).any()):
            return None
        return geometry_interval(key.metric, self._drawn(spec), self._drawn(against), difference)

    def _drawn(self, arm: str) -> Resampled:
        return self._resampled.setdefault(arm, Resampled(*self.evaluated[arm].inputs.test))

    def _correct(self, arm: str, key: MetricKey) -> Floats | None:
        """How right the answers behind an accuracy are for each image, (N,) in [0, 1]; None if not asked for."""
        for part in self.parts:
            if part.name == key.probe:
                answers = self.evaluated[arm].answers(part)
                if key.params in map(canonical_json, answers.params):
                    right: Floats = answers.correct(key.params).mean(axis=0)
                    return right
        return None


def _values(rows: Sequence[Row], layer: str) -> dict[MetricKey, Row]:
    return {key_of(row): row for row in rows if row.layer == layer and row.value is not None}
