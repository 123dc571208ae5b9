"""Single models on the same images: intervals from their answers and features, against what is computed directly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dsabench.config.eval_config import EvalConfig
from dsabench.config.spec import Part
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.evaluation.encoder import module_encoder
from dsabench.evaluation.evaluate import Evaluation, LayerEvaluation
from dsabench.evaluation.single import Models
from dsabench.signals import Stop
from dsabench.stats.weights import Resampled, accuracy_interval, geometry_interval
from dsabench.tables.criteria import Criteria, parse_primary
from dsabench.tables.grouping import pairs_of_arms
from dsabench.tables.rows import Row

DATASETS = Datasets(offline=True)
DATA = DataConfig(name="synthetic", image_size=8)
PROBES = ("knn", "cdnv", "silhouette")


@pytest.fixture(scope="module")
def evaluated() -> dict[str, LayerEvaluation]:
    found = {}
    for seed, name in enumerate(("plain", "other")):
        torch.manual_seed(seed)
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(16)).eval()
        module(torch.zeros(1, 3, 8, 8))
        encoder = module_encoder(module, name, DATASETS.load(DATA).facts, "none")
        (found[name],) = Evaluation(encoder, EvalConfig(PROBES, data=DATA), DATASETS).layers()
    return found


@pytest.fixture(scope="module")
def arms(evaluated: dict[str, LayerEvaluation]) -> dict[str, list[Row]]:
    return {name: list(layer.rows(Stop())) for name, layer in evaluated.items()}


def test_the_primary_metric_comes_first_and_each_interval_is_of_its_own_kind(
    evaluated: dict[str, LayerEvaluation], arms: dict[str, list[Row]]
) -> None:
    parts = tuple(map(Part, PROBES))
    criteria = Criteria(parse_primary("cdnv"), ())
    found = Models(evaluated, parts).compared(arms, pairs_of_arms(arms), criteria, "backbone")
    assert [(one.key.metric, one.primary) for one in found] == [
        *(("cdnv", True), ("accuracy", False), ("silhouette", False)),
    ]
    cdnv, accuracy, silhouette = found
    tests = [evaluated[name].inputs.test for name in ("other", "plain")]
    drawn = [Resampled(*test) for test in tests]
    assert (cdnv.low, cdnv.high) == geometry_interval("cdnv", *drawn, cdnv.difference)
    right = [evaluated[name].answers(parts[0]).correct(accuracy.key.params)[0] for name in ("other", "plain")]
    assert accuracy.difference == pytest.approx(np.mean(right[0]) - np.mean(right[1]))
    assert (accuracy.low, accuracy.high) == accuracy_interval(*right, tests[0].y.numpy())
    assert (silhouette.low, silhouette.high) == (None, None)


def test_what_is_not_at_hand_has_no_interval(evaluated: dict[str, LayerEvaluation], arms: dict[str, list[Row]]) -> None:
    criteria, pairs = Criteria(parse_primary("knn"), ()), pairs_of_arms(arms)
    alone = {"plain": evaluated["plain"]}
    assert {one.low for one in Models(alone, ()).compared(arms, pairs, criteria, "backbone")} == {None}
    # Other options than those that were asked for here have no answers.
    otherwise = {
        name: [replace(r, probe_params='{"k":1}') for r in own if r.probe == "knn"] for name, own in arms.items()
    }
    (one,) = Models(evaluated, (Part("knn"),)).compared(otherwise, pairs, criteria, "backbone")
    assert one.low is None
