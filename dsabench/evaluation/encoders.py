"""From sources as they are asked for to encoders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from dsabench.config.source import Source
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.evaluation.embeddings import load_embeddings
from dsabench.evaluation.encoder import Encoder, module_columns
from dsabench.files import canonical_json, sha256_bytes, slug
from dsabench.training.run import say


def source_encoders(
    sources: Sequence[Source], datasets: Datasets, *, data: DataConfig | None = None, store: Path | None = None
) -> list[Encoder]:
    """The encoders of sources, in their order; all files are read and checked here, before anything is evaluated.

    `data` is what they will be evaluated on: embeddings must be of its images, in its order. Features and answers are
    kept under `store`. Raises UsageError and DataError as the sources do.
    """
    # Loading a model of timm waits for its imports, which embeddings alone have no use for.
    folder = store / "encoders" if store else None
    return [_encoder(source, datasets, data, folder) for source in sources]


def _encoder(source: Source, datasets: Datasets, data: DataConfig | None, folder: Path | None) -> Encoder:
    if source.kind == "features":
        return embeddings_encoder(source, datasets, data, folder)
    from dsabench.evaluation.model_sources import checkpoint_encoder, timm_encoder

    if source.kind == "timm":
        return timm_encoder(source, folder, offline=datasets.offline)
    return checkpoint_encoder(source, folder)


def embeddings_encoder(source: Source, datasets: Datasets, data: DataConfig | None, folder: Path | None) -> Encoder:
    """The encoder of a file of embeddings: features at once. Raises DataError where they are not features."""
    dataset = datasets.load(data) if data else None
    embeddings = load_embeddings(Path(source.place), source.labels, dataset)
    if data is not None:
        embeddings = embeddings._replace(title=data.label)
    counts = ", ".join(f"{split} {len(features.y):,}" for split, features in embeddings.splits.items())
    width = embeddings.splits["train"].x.shape[1]
    say(f"{source.name}: {source.place}, {counts} rows of {width} in {len(embeddings.classes)} classes")
    facts = {"embeddings": embeddings.sha256, "data": embeddings.data_sha256}
    config_hash = sha256_bytes(canonical_json({"name": source.name, **facts}).encode())
    columns = module_columns(source.name, config_hash, "unknown", "cpu")
    return Encoder(
        name=source.name,
        layer_names=("backbone",),
        preprocess=None,
        weights_sha256=sha256_bytes(canonical_json(facts).encode()),
        labels_used="unknown",
        seed=0,
        load=dict,
        provenance={**columns, "backbone": "embeddings", "device": ""},
        folder=folder / f"{slug(source.name)}-{config_hash[:12]}" if folder else None,
        threads=torch.get_num_threads(),
        embeddings=embeddings,
    )
