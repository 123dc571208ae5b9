"""Answers: what a probe said of every image, stored beside the features; accuracies and McNemar derive from them.

`answers-PROBE-HASH.safetensors` holds `y` (N,) int64, the classes, and for each accuracy i of the probe `predicted.i`
(R, N) int32, the class that each of R draws answered (R is 1 where nothing is drawn). The metadata of the file hold,
under `dsabench`, JSON with `params` (a list: what accuracy i stands under), `scores` (the probe's values that derive
from no answer) and `probe`. Images are in the order of the split.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dsabench.errors import DataError
from dsabench.files import canonical_json, write_atomic

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Answers:
    """All that one probe answered on one split: `predicted[i]` (R, N) under `params[i]`, of images of classes `y` (N,).

    `scores` holds the values that derive from no answer, each with its name, parameters and direction.
    """

    probe: str
    y: Array
    params: tuple[dict[str, Any], ...]
    predicted: tuple[Array, ...]
    scores: tuple[dict[str, Any], ...] = ()

    def correct(self, params: str) -> Array:
        """Which images (R, N) bool are right under parameters, as canonical JSON; KeyError where there are none."""
        for mine, predicted in zip(self.params, self.predicted, strict=True):
            if canonical_json(mine) == params:
                right: Array = predicted == self.y
                return right
        raise KeyError(params)


def write_answers(path: Path, answers: Answers) -> None:
    """Write answers atomically; raises StorageError where the file cannot be written."""
    tensors = {f"predicted.{i}": rows.astype(np.int32) for i, rows in enumerate(answers.predicted)}
    # One entry: safetensors keeps no order among several, and equal answers are to be equal files.
    about = {"probe": answers.probe, "params": answers.params, "scores": answers.scores}
    data = save({"y": answers.y.astype(np.int64), **tensors}, metadata={"dsabench": canonical_json(about)})
    write_atomic(path, data)


def read_answers(path: Path) -> Answers:
    """Read what `write_answers` wrote; raises DataError where it is missing or damaged."""
    try:
        with safe_open(path, framework="np") as file:
            about = json.loads(file.metadata()["dsabench"])
            probe, params, scores = about["probe"], about["params"], about["scores"]
            y = file.get_tensor("y")
            predicted = tuple(file.get_tensor(f"predicted.{i}").astype(np.int64) for i in range(len(params)))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"cannot read the answers {path}: {error}") from error
    return Answers(probe, y, tuple(params), predicted, tuple(scores))
