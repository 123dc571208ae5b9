"""The only orchestrator: a configuration becomes a run, a run becomes features, features become rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from dsabench import __version__
from dsabench.build import facts_of
from dsabench.config import RunConfig
from dsabench.data.spec import Dataset
from dsabench.errors import DataError, RunFailed, unknown
from dsabench.features import LAYERS, FeatureStore
from dsabench.metrics import METRICS, measure
from dsabench.plan import configured_dataset
from dsabench.probes import PROBE_VERSION, PROBES
from dsabench.probes.knn import knn_correct
from dsabench.progress import Update
from dsabench.registry import load
from dsabench.results import SCHEMA_VERSION, Row, canonical_json
from dsabench.rng import numpy_generator
from dsabench.runs import Run, utc_now
from dsabench.signals import Stop
from dsabench.train import Trainer, make_fabric, pretrain
from dsabench.types import Features, Score
from dsabench.usage import device_name, freed_memory_kept, source_revision

Report = Callable[[Update], None]

# Metrics of geometry are the values of a probe of this name.
CROWDING = "crowding"

# Updates of a run come at most so often, in seconds.
UPDATE_S = 0.1


@dataclass(frozen=True)
class Evaluation:
    """What to measure: probe names (`crowding` for the metrics), layers, a split."""

    probes: tuple[str, ...] = (*PROBES, CROWDING)
    layers: tuple[str, ...] = ("backbone",)
    split: str = "test"

    def check(self) -> None:
        """Raise UsageError for a name that does not exist."""
        for probe in self.probes:
            if probe not in PROBES and probe != CROWDING:
                raise unknown("probe", probe, [*PROBES, CROWDING], "dsabench list probes")
        for layer in self.layers:
            if layer not in LAYERS:
                raise unknown("layer", layer, LAYERS)
        if self.split not in ("test", "val"):
            raise unknown("split", self.split, ("test", "val"))


def prepare(config: RunConfig) -> None:
    """Set this process's threads, memory and determinism to those of a run."""
    torch.set_num_threads(config.threads)
    if config.deterministic and config.device == "cuda":
        # cuBLAS repeats itself only with a workspace of a fixed size, which it asks for when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(config.deterministic and config.device == "cuda")


def validate(config: RunConfig, runs: Path, *, offline: bool) -> None:
    """Build everything that a run needs, so that what cannot be is refused before anything is written."""
    Trainer(config, configured_dataset(config, offline=offline), Run.at(config, runs), make_fabric(config))


def train(
    config: RunConfig, runs: Path, *, overwrite: bool, offline: bool, stop: Stop, report: Report
) -> tuple[Run, bool]:
    """The finished run of a configuration and whether it was there already; trains what is missing of it.

    Raises DataError where the run was trained on other data, RunFailed and Interrupted as `pretrain` does.
    """
    prepare(config)
    dataset = configured_dataset(config, offline=offline)
    run = Run.at(config, runs)
    check_same_data(run, dataset, overwrite)
    if run.is_complete() and not overwrite:
        return run, True
    fabric = make_fabric(config)
    validated = Trainer(config, dataset, run, fabric)
    with run.locked(stop):
        # Another process may have trained it while this one waited.
        run.reload()
        if overwrite:
            run.erase()
        elif run.is_complete():
            return run, True
        run.begin(**facts(config, dataset, fabric.world_size, run.state.get("started_utc")))
        last = 0.0

        def watch(step: int, total: int, loss: float | None, images_per_s: float) -> None:
            nonlocal last
            if time.monotonic() - last >= UPDATE_S:
                last = time.monotonic()
                report(Update(config.label, "training", step, total, loss, images_per_s))

        with freed_memory_kept():
            pretrain(validated, stop, watch)
    return run, False


def check_same_data(run: Run, dataset: Dataset, overwrite: bool) -> None:
    """Raise DataError where a run that is to be reused or resumed was made from other data."""
    known = run.state.get("dataset_sha256")
    if known is not None and known != dataset.sha256 and not overwrite:
        raise DataError(
            f"the run {run.folder} was trained on other data (hash {known[:12]}, {dataset.name} now has "
            f"{dataset.sha256[:12]}); use another --runs folder, or --overwrite always to train it again"
        )


def facts(config: RunConfig, dataset: Dataset, n_devices: int, started_utc: str | None) -> dict[str, object]:
    """Where a run's numbers come from."""
    sha, dirty = source_revision()
    return {
        "dataset_sha256": dataset.sha256,
        **facts_of(config)._asdict(),
        "git_sha": sha,
        "git_dirty": dirty,
        "dsabench_version": __version__,
        "torch_version": torch.__version__,
        "device": device_name(config.device),
        "n_devices": n_devices,
        "started_utc": started_utc or utc_now(),
    }


def evaluate(run: Run, what: Evaluation, *, data_dir: Path | None = None, offline: bool, stop: Stop) -> list[Row]:
    """The rows of a finished run, layer by layer; raises DataError where the run or its data are not what they were."""
    what.check()
    prepare(run.config)
    dataset = configured_dataset(run.config, data_dir=data_dir, offline=offline)
    store = FeatureStore(run, dataset)
    rows = []
    for layer in what.layers:
        train, val, test = splits(store, layer, what.split)
        for probe in what.probes:
            stop.check()
            for score in scores(probe, train, val, test, run.config.seed):
                rows.append(row(run, layer=layer, probe=probe, score=score, split=what.split, n=len(test.y)))
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
    train, _, test = splits(store, what.layers[0], what.split)
    return knn_correct(train, test)


def take(features: Features, index: torch.Tensor) -> Features:
    """The samples at `index` (M,)."""
    return Features(features.x[index], features.y[index])


def scores(probe: str, train: Features, val: Features, test: Features, seed: int) -> Iterator[Score]:
    """The values of one probe, or of all crowding metrics."""
    if probe != CROWDING:
        yield from load(PROBES, "probe", probe)(train, val, test, seed=seed)
        return
    for name, value in measure(test.x, test.y).items():
        yield Score(name, value, {}, METRICS[name].higher_is_better)


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


def train_and_evaluate(
    config: RunConfig, what: Evaluation, runs: Path, *, overwrite: bool, offline: bool, stop: Stop, report: Report
) -> list[Row]:
    """The rows of a configuration; a run that fails by itself has one row that says so."""
    try:
        run, reused = train(config, runs, overwrite=overwrite, offline=offline, stop=stop, report=report)
    except RunFailed:
        report(Update(config.label, "failed", 0, 1, None, None))
        nothing = Score("", float("nan"), {}, None)
        return [row(Run.at(config, runs), layer="", probe="", score=nothing, split=what.split, n=None, status="failed")]
    report(Update(config.label, "evaluating", 1, 1, None, None))
    rows = evaluate(run, what, offline=offline, stop=stop)
    report(Update(config.label, "reused" if reused else "finished", 1, 1, None, None))
    return rows
