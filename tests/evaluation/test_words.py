"""What every probe and metric says of itself, and how they are asked for."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch

from dsabench.config.spec import Part
from dsabench.errors import UsageError
from dsabench.evaluation.inputs import FEATURES, Inputs
from dsabench.evaluation.words import CORE, EVALUATORS, asked, resolved
from dsabench.metrics import METRICS, measure
from dsabench.probes import PROBES
from dsabench.probes.base import scores_of
from dsabench.registry import load
from dsabench.types import Features

CORE_METRICS = [
    "intra_class_variance",
    "inter_class_separation",
    "cdnv",
    "fisher_ratio",
    "silhouette",
    "davies_bouldin",
    "uniformity",
    "rankme",
    "feature_std",
]


def features(n: int, seed: int) -> Features:
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    return Features(torch.eye(3, 8)[y] + 0.5 * torch.randn(n, 8, generator=draw) + 0.3, 2 * y - 1)


INPUTS = Inputs(features(90, 0), features(60, 1), features(120, 2))


def test_the_core_is_what_was_published() -> None:
    # The declared Holm family: what is added later is extra, and moves no published p value.
    core = [name for name, entry in EVALUATORS.items() if entry.tier == "core"]
    assert core == ["knn", "knn5", "linear", "fewshot", *CORE_METRICS]
    assert [part.name for part in asked(CORE)] == core


def test_probes_and_metrics_are_one_kind() -> None:
    assert EVALUATORS == {**PROBES, **METRICS}
    assert len(EVALUATORS) == len(PROBES) + len(METRICS)
    labels = [entry.label for entry in EVALUATORS.values()]
    assert len({label.lower() for label in labels}) == len(labels)


@pytest.mark.parametrize("name", EVALUATORS)
def test_an_entry_is_whole(name: str) -> None:
    entry = EVALUATORS[name]
    assert entry.kind == ("probe" if name in PROBES else "metric")
    assert entry.tier in ("core", "extra")
    assert entry.needs
    assert set(entry.needs) <= {"train", "val", "test", "encoder", "views", "images"}
    assert all(text.strip() for text in (entry.summary, entry.label, entry.source))
    assert "\n" not in entry.summary
    function = load(EVALUATORS, "probe", name)
    assert function.__doc__
    parameters = inspect.signature(function.of if entry.kind == "metric" else function).parameters
    facts = ("samples",) if entry.kind == "metric" else ("train", "val", "test", "seed", "subject")
    options = {option: found.default for option, found in parameters.items() if option not in facts}
    assert options == dict(entry.options)


# Three classes do not make five ways.
ASKED = {"episodes": Part("episodes", {"ways": 3, "episodes": 20})}
OF_FEATURES = [name for name, entry in EVALUATORS.items() if set(entry.needs) <= set(FEATURES)]


@pytest.mark.parametrize("name", OF_FEATURES)
def test_what_an_entry_needs_is_enough(name: str) -> None:
    entry = EVALUATORS[name]
    part = resolved(ASKED.get(name, Part(name)))
    result = INPUTS.result(part, seed=0)
    found = scores_of(result, INPUTS.test.y)
    assert found
    if entry.kind == "metric":
        (score,) = found
        assert (score.metric, score.params, score.higher_is_better) == (name, entry.options, entry.higher_is_better)
        assert score.value == measure(*INPUTS.test, [name])[name]
        assert entry.column(name) == "crowding"
    else:
        assert entry.column(name) == name
    # What is not declared may be anything.
    nothing = Features(torch.full((1, 1), torch.nan), torch.zeros(1, dtype=torch.int64))
    given = {split: getattr(INPUTS, split) if split in entry.needs else nothing for split in ("train", "val", "test")}
    assert scores_of(Inputs(**given).result(part, seed=0), INPUTS.test.y) == found


@pytest.mark.parametrize("name", sorted(EVALUATORS.keys() - set(OF_FEATURES)))
def test_what_needs_images_says_so_where_there_are_none(name: str) -> None:
    assert EVALUATORS[name].tier == "extra"
    with pytest.raises(ValueError, match=f"{name} needs .*, and there are features alone"):
        INPUTS.result(resolved(Part(name)), seed=0)


def test_words_ask_for_evaluators_once_and_with_all_options() -> None:
    assert [part.name for part in asked(["cdnv", "crowding", "knn", "cdnv", "knn[k=20]"])] == [
        "cdnv",
        *(name for name in CORE_METRICS if name != "cdnv"),
        "knn",
    ]
    assert asked(["knn[k=5]", "knn"]) == [
        Part("knn", {"k": 5, "temperature": 0.07}),
        Part("knn", {"k": 20, "temperature": 0.07}),
    ]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("knm", "did you mean 'knn'"),
        ("crowdin", "did you mean 'crowding'"),
        ("crowding[k=5]", "unknown probe 'crowding'"),
        ("knn[q=5]", "knn has no option 'q'"),
        ("knn[k=2.5]", "must be an integer"),
        ("knn[k=0]", "must be above 0"),
        ("knn[temperature=-1]", "must be above 0"),
        ("linear[k=5]", "linear has no option 'k'"),
        ("knn[k", "cannot read"),
    ],
)
def test_wrong_words_are_usage_errors(word: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        asked([word])


def test_the_entries_wait_for_nothing_heavy() -> None:
    code = (
        "import sys, dsabench.evaluators, dsabench.probes, dsabench.metrics; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'sklearn', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
