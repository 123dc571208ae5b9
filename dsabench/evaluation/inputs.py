"""What evaluators read, and what each of them makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dsabench.config.spec import Part
from dsabench.evaluation.subject import Subject
from dsabench.evaluation.words import EVALUATORS
from dsabench.metrics.samples import Samples
from dsabench.registry import load
from dsabench.types import Features, ProbeResult, Score

# What an evaluator may read without a subject.
FEATURES = ("train", "val", "test")


@dataclass(frozen=True)
class Inputs:
    """The features to fit on, to choose on, and to score on; and the `subject` that they are of, where there are images
    and a model behind them."""

    train: Features
    val: Features
    test: Features
    subject: Subject | None = None

    @cached_property
    def samples(self) -> Samples:
        """What all metrics share, read in one pass; raises ValueError for features that no metric is defined for."""
        return Samples(*self.test).read_once()

    def result(self, evaluator: Part, seed: int) -> ProbeResult:
        """What a resolved evaluator says of the features; raises ValueError where it is not defined for them."""
        entry = EVALUATORS[evaluator.name]
        function = load(EVALUATORS, "probe", evaluator.name)
        if entry.kind == "metric":
            value = function.of(self.samples, **evaluator.options)
            return ProbeResult(scores=[Score(evaluator.name, value, evaluator.options, entry.higher_is_better)])
        more = {}
        if beyond := [need for need in entry.needs if need not in FEATURES]:
            if self.subject is None:
                raise ValueError(f"{evaluator.name} needs {' and '.join(beyond)}, and there are features alone")
            more["subject"] = self.subject
        result: ProbeResult = function(self.train, self.val, self.test, seed=seed, **more, **evaluator.options)
        return result
