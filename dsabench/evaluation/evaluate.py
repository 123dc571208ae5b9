"""From finished runs to the rows of the tidy table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dsabench.config.plan import configured_dataset
from dsabench.config.run_config import RunConfig
from dsabench.config.spec import Part
from dsabench.errors import unknown
from dsabench.evaluation.evaluators import CORE, EVALUATORS, asked, resolved
from dsabench.evaluation.features import LAYERS, FeatureStore
from dsabench.evaluation.inputs import Inputs
from dsabench.files import canonical_json
from dsabench.metrics import METRICS
from dsabench.probes import PROBE_VERSION
from dsabench.probes.base import correct_of, scores_of
from dsabench.rng import numpy_generator
from dsabench.signals import Stop
from dsabench.stats import Comparison, mcnemar
from dsabench.tables.comparisons import Primary
from dsabench.tables.rows import SCHEMA_VERSION, Row
from dsabench.training.machine import prepare
from dsabench.training.run import Run
from dsabench.types import Features, Score


@dataclass(frozen=True)
class Evaluation:
    """What to measure: evaluators by name, with options (`crowding` for the core metrics), layers, a split."""

    probes: tuple[str, ...] = CORE
    layers: tuple[str, ...] = ("backbone",)
    split: str = "test"

    def check(self) -> None:
        """Raise UsageError for a name or an option that does not exist."""
        asked(self.probes)
        for layer in self.layers:
            if layer not in LAYERS:
                raise unknown("layer", layer, LAYERS)
        if self.split not in ("test", "val"):
            raise unknown("split", self.split, ("test", "val"))


def evaluate(run: Run, what: Evaluation, *, data_dir: Path | None = None, offline: bool, stop: Stop) -> list[Row]:
    """The rows of a finished run, layer by layer; raises DataError where the run or its data are not what they were."""
    what.check()
    prepare(run.config)
    dataset = configured_dataset(run.config, data_dir=data_dir, offline=offline)
    store = FeatureStore(run, dataset)
    rows = []
    for layer in what.layers:
        inputs = Inputs(*splits(store, layer, what.split))
        for part in asked(what.probes):
            stop.check()
            column = EVALUATORS[part.name].column(part.name)
            for score in scores_of(inputs.result(part, run.config.seed), inputs.test.y):
                rows.append(row(run, layer=layer, probe=column, score=score, split=what.split, n=len(inputs.test.y)))
    return rows


def splits(store: FeatureStore, layer: str, split: str) -> tuple[Features, Features, Features]:
    """What to fit on, to choose on and to score on.

    On the validation split a probe chooses on a tenth of the training features: what it is scored on stays unseen.
    """
    train = store.get(layer, "train")
    if split == "test":
        return train, store.get(layer, "val"), store.get(layer, "test")
    order = torch.from_numpy(numpy_generator("choose", "val").permutation(len(train.y)))
    chosen, fitted = order[: len(order) // 10], order[len(order) // 10 :]
    return take(train, fitted), take(train, chosen), store.get(layer, "val")


def knn_per_image(run: Run, what: Evaluation, *, offline: bool) -> torch.Tensor:
    """Which images of the split the kNN probe gets right, (N,) bool, on the first layer of an evaluation."""
    store = FeatureStore(run, configured_dataset(run.config, offline=offline))
    inputs = Inputs(*splits(store, what.layers[0], what.split))
    (answer,) = inputs.result(resolved(Part("knn")), run.config.seed).answers
    return correct_of(answer, inputs.test.y)[0]


def take(features: Features, index: torch.Tensor) -> Features:
    """The samples at `index` (M,)."""
    return Features(features.x[index], features.y[index])


def row(run: Run, *, layer: str, probe: str, score: Score, split: str, n: int | None, status: str = "ok") -> Row:
    """One row of the tidy table."""
    config, state = run.config, run.state
    failed = status != "ok"
    return Row(
        schema_version=SCHEMA_VERSION,
        run_id=config.run_id,
        method=config.method,
        regularizer=config.regularizer,
        backbone=config.backbone,
        seed=config.seed,
        dataset=config.title,
        dataset_sha256=state["dataset_sha256"],
        split=split,
        n=n,
        layer=layer,
        probe=probe,
        probe_version="" if failed else PROBE_VERSION,
        probe_params=canonical_json(score.params),
        metric=score.metric,
        value=None if failed else score.value,
        higher_is_better=score.higher_is_better,
        status=status,
        epochs=config.epochs,
        images_seen=state.get("images_seen", 0),
        wall_s=state.get("wall_s"),
        images_per_s=state.get("images_per_s"),
        peak_mem_mb=state.get("peak_mem_mb"),
        config_hash=config.config_hash,
        git_sha=state["git_sha"],
        git_dirty=state["git_dirty"],
        dsabench_version=state["dsabench_version"],
        torch_version=state["torch_version"],
        device=state["device"],
        n_devices=state["n_devices"],
        precision=config.precision,
        threads=config.threads,
        deterministic=config.deterministic,
        augment=config.augment or "batched",
        prior=state["prior"],
        labels_used=state["labels_used"],
        started_utc=state["started_utc"],
    )


def with_primary(what: Evaluation, primary: Primary) -> Evaluation:
    """The evaluation with the primary metric among what it measures."""
    name = primary.metric if primary.metric in METRICS else primary.probe
    if any(part.name == name for part in asked(what.probes)):
        return what
    return Evaluation((*what.probes, name), what.layers, what.split)


def mcnemar_by_seed(
    planned: Sequence[RunConfig], comparisons: Sequence[Comparison], what: Evaluation, runs: Path, *, offline: bool
) -> dict[tuple[str, str], list[float]]:
    """McNemar's p between the kNN answers of each pair of arms, seed by seed, image by image.

    It stands beside the verdict and is never one: test images are not seeds. Empty where kNN was not asked for.
    """
    if resolved(Part("knn")) not in asked(what.probes):
        return {}
    correct: dict[tuple[str, int], list[bool]] = {}
    for config in planned:
        run = Run.at(config, runs)
        if run.state["status"] == "finished":
            correct[str(config.spec), config.seed] = knn_per_image(run, what, offline=offline).tolist()
    seeds = sorted({config.seed for config in planned})
    return {
        (spec, against): [
            mcnemar(correct[spec, seed], correct[against, seed])
            for seed in seeds
            if (spec, seed) in correct and (against, seed) in correct
        ]
        for spec, against in dict.fromkeys((c.spec, c.against) for c in comparisons)
    }
