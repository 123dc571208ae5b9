"""From an encoder to the rows of the tidy table: features, the answers of probes, values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from dsabench.config.eval_config import ALL, EvalConfig
from dsabench.config.plan import resolve_device
from dsabench.config.spec import Part
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig, located
from dsabench.data.dataset import Dataset
from dsabench.errors import DataError, UsageError
from dsabench.evaluation.encoder import Encoder
from dsabench.evaluation.feature_files import is_whole, seal
from dsabench.evaluation.features import EmbeddingStore, FeatureStore, splits
from dsabench.evaluation.inputs import Inputs
from dsabench.evaluation.subject import Subject
from dsabench.evaluation.words import EVALUATORS, asked
from dsabench.files import canonical_json, sha256_bytes, sha256_file, write_atomic
from dsabench.probes import PROBE_VERSION
from dsabench.probes.base import scores_of
from dsabench.signals import Stop
from dsabench.tables.answers import Answers, read_answers, write_answers
from dsabench.tables.rows import SCHEMA_VERSION, Row
from dsabench.training.machine import prepare
from dsabench.training.provenance import device_name
from dsabench.training.ranks import Ranks
from dsabench.types import Answer, Features, ProbeResult, Score


def evaluate(encoder: Encoder, config: EvalConfig, datasets: Datasets, *, stop: Stop) -> list[Row]:
    """The rows of an encoder, layer by layer.

    A value that is not defined for the features is a row without one, of status `undefined`. Raises DataError where
    the encoder or its data are not what they were, Interrupted where a signal came.
    """
    with stop.at_once():
        return [row for evaluated in Evaluation(encoder, config, datasets).layers() for row in evaluated.rows(stop)]


class Evaluation:
    """One encoder on one data set: where its features are computed, and what its rows say of both."""

    def __init__(self, encoder: Encoder, config: EvalConfig, datasets: Datasets) -> None:
        self.encoder, self.config = encoder, config
        self.parts = asked(config.probes)
        device = device_here(config.device or encoder.device, strict=config.device is not None)
        threads = config.threads or encoder.threads
        prepare(threads)
        self.store: FeatureStore | EmbeddingStore
        self.dataset: Dataset | None = None
        if encoder.embeddings is not None:
            self.title, self.data_sha256 = encoder.embeddings.title, encoder.embeddings.data_sha256
            self.store = EmbeddingStore(encoder, encoder.embeddings)
        else:
            self.dataset = dataset = evaluated_data(encoder, config.data, datasets)
            self.title = (config.data or encoder.data or DataConfig(name=dataset.name)).label
            self.data_sha256 = dataset.sha256
            self.store = FeatureStore(encoder, dataset, torch.device(device), config.precision)
        narrow = "" if config.precision == "fp32" else f", {config.precision}"
        self.datasets = datasets
        self.where = f"{device_name(device)}, {threads} thread{'s' if threads > 1 else ''}{narrow}"

    def extract_together(self, ranks: Ranks) -> None:
        """Store the features of all layers that were asked for, each of several processes its share of them."""
        if isinstance(self.store, FeatureStore):
            for layer in self.config.layers:
                for name in ("train", "val", "test") if self.config.split == "test" else ("train", "val"):
                    self.store.extract_together(layer, name, ranks)

    def subject(self, layer: Part) -> Subject | None:
        """A layer with its encoder and its images; None for embeddings, which have neither."""
        if not isinstance(self.store, FeatureStore):
            return None
        encoder, data = self.encoder, self.config.data or self.encoder.data or DataConfig(name=self.title)

        def elsewhere(name: str) -> Dataset:
            # Downloads lie together; a loader of its own, for that of this evaluation keeps one data set.
            there = DataConfig(name=located(name), folder=data.folder)
            return evaluated_data(encoder, there, Datasets(offline=self.datasets.offline))

        return Subject(self.store, layer, self.config.split, data, elsewhere)

    def layers(self) -> Iterator[LayerEvaluation]:
        """The layers that were asked for, one after another."""
        layers = self.config.layers
        if Part(ALL) in layers:
            layers = self._every_layer(layers)
        return (LayerEvaluation(self, layer) for layer in layers)

    def _every_layer(self, layers: tuple[Part, ...]) -> tuple[Part, ...]:
        """The layers with all of the encoder's in the place of `all`, each once; read in one forward pass a split."""
        if not isinstance(self.store, FeatureStore):
            raise UsageError(
                f"{self.encoder.name} has no stages; embeddings have {', '.join(self.encoder.layer_names)}"
            )
        stages = self.encoder.stages()
        for split in ("train", "val", "test") if self.config.split == "test" else ("train", "val"):
            self.store.get_all(stages, split)
        every = (part for layer in layers for part in (map(Part, stages) if layer == Part(ALL) else (layer,)))
        return tuple(dict.fromkeys(every))


class LayerEvaluation:
    """One layer of an evaluation: its features, and what each evaluator says of them."""

    def __init__(self, evaluation: Evaluation, layer: Part) -> None:
        self.evaluation, self.layer = evaluation, layer
        found = splits(evaluation.store, layer, evaluation.config.split)
        self.inputs = Inputs(*found, evaluation.subject(layer))

    def rows(self, stop: Stop) -> Iterator[Row]:
        """A row for every value of every evaluator."""
        if self.inputs.subject is not None:
            self.inputs.subject.stop = stop
        for part in self.evaluation.parts:
            stop.check()
            try:
                scores = scores_of(self.result(part), self.inputs.test.y)
            except ValueError as error:
                direction = EVALUATORS[part.name].higher_is_better
                metric = "accuracy" if EVALUATORS[part.name].kind == "probe" else part.name
                yield self.row(part, Score(metric, float("nan"), part.options, direction), note=str(error))
                continue
            for score in scores:
                yield self.row(part, score)

    def result(self, part: Part) -> ProbeResult:
        """What an evaluator says: its stored answers, or new ones, which are stored. Raises ValueError as it does."""
        path = self.path(part)
        if path is not None and is_whole(path):
            return as_result(read_answers(path))
        result = self.inputs.result(part, self.evaluation.encoder.seed)
        if path is not None and result.answers:
            write_answers(path, as_answers(part.name, result, self.inputs.test))
            write_atomic(seal(path), sha256_file(path) + "\n")
            if self.inputs.subject is not None:
                self.inputs.subject.tidy()
        return result

    def answers(self, part: Part) -> Answers:
        """The answers of a probe for every image."""
        return as_answers(part.name, self.result(part), self.inputs.test)

    def path(self, part: Part) -> Path | None:
        """Where the answers of a probe are kept; None where they are not."""
        folder = self.evaluation.encoder.folder
        if folder is None or EVALUATORS[part.name].kind != "probe":
            return None
        store, split = self.evaluation.store, self.evaluation.config.split
        read = ("train", "val", "test") if split == "test" else ("train", "val")
        facts = {
            "features": [store.identity(self.layer, name) for name in read],
            "probe": str(part),
            "version": PROBE_VERSION,
            "seed": self.evaluation.encoder.seed,
            "split": split,
        }
        return folder / f"answers-{part.name}-{sha256_bytes(canonical_json(facts).encode())[:16]}.safetensors"

    def row(self, part: Part, score: Score, *, note: str = "") -> Row:
        """One row of the tidy table; with a `note` that says why, a value that is not defined."""
        evaluation, encoder = self.evaluation, self.evaluation.encoder
        return Row(
            schema_version=SCHEMA_VERSION,
            dataset=evaluation.title,
            dataset_sha256=evaluation.data_sha256,
            split=evaluation.config.split,
            n=len(self.inputs.test.y),
            layer=str(self.layer),
            probe=EVALUATORS[part.name].column(part.name),
            probe_version=PROBE_VERSION,
            probe_params=canonical_json(score.params),
            metric=score.metric,
            value=None if note else score.value,
            higher_is_better=score.higher_is_better,
            status="undefined" if note else "ok",
            note=note,
            preprocess=str(encoder.preprocess or ""),
            eval_device=evaluation.where,
            **encoder.provenance,  # type: ignore[arg-type]
        )


def device_here(name: str, *, strict: bool) -> str:
    """The device of that name where it is there, else the CPU; where `strict`, UsageError for one that is not."""
    try:
        return resolve_device(name)
    except UsageError:
        if strict:
            raise
        return "cpu"


def evaluated_data(encoder: Encoder, config: DataConfig | None, datasets: Datasets) -> Dataset:
    """The data to evaluate on, at the encoder's size; raises DataError where its own are not what they were."""
    own = config is None or (encoder.data is not None and config.identity() == encoder.data.identity())
    if not own and config is not None:
        if encoder.data is None and encoder.preprocess and encoder.preprocess.crop_pct:
            # The images as they are: what they are brought to is the model's own.
            return datasets.load(config)
        size = config.image_size or (encoder.preprocess.image_size if encoder.preprocess else None)
        return datasets.load(config.model_copy(update={"image_size": size}))
    if encoder.data is None:
        raise DataError(f"{encoder.name} has no data of its own; say what to evaluate it on with --dataset")
    dataset = datasets.load(config or encoder.data)
    if encoder.data_sha256 != dataset.sha256:
        raise DataError(
            f"the run {encoder.name} was trained on other data: {dataset.name} has the hash {dataset.sha256[:12]}, "
            f"the run's had {str(encoder.data_sha256)[:12]}; to evaluate it on these, name them with --dataset "
            "and, to tell them apart in tables, --data-name"
        )
    return dataset


def as_answers(probe: str, result: ProbeResult, test: Features) -> Answers:
    """What a probe returned, as it is stored."""
    return Answers(
        probe,
        test.y.numpy(),
        tuple(dict(answer.params) for answer in result.answers),
        tuple(answer.predicted.numpy() for answer in result.answers),
        tuple({**score._asdict(), "params": dict(score.params)} for score in result.scores),
    )


def as_result(answers: Answers) -> ProbeResult:
    """What is stored, as the probe returned it."""
    pairs = zip(answers.params, answers.predicted, strict=True)
    return ProbeResult(
        scores=[Score(**score) for score in answers.scores],
        answers=[Answer(params, torch.from_numpy(predicted)) for params, predicted in pairs],
    )
