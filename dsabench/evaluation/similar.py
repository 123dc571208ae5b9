"""Which images a trained regularizer takes for similar: its own prior and network on one batch, seen once and kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import torch

from dsabench import rng
from dsabench.data.dataset import Dataset
from dsabench.data.loader import labelled_batches, pretraining_batches, reading_workers, unlabelled
from dsabench.errors import DataError
from dsabench.files import read_json, write_atomic
from dsabench.training.build import build_method, build_regularizer
from dsabench.training.checkpoint import read_checkpoint, restore_module
from dsabench.training.run import Run
from dsabench.types import LabelledViews


@dataclass(frozen=True)
class SimilarPairs:
    """`index` (B,): training images of a batch; `pairs`: positions i < j in it that were taken for similar."""

    index: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]


def similar_pairs(run: Run, dataset: Dataset) -> SimilarPairs | None:
    """The pairs of the batch that training would have seen next; None for a regularizer that takes none for similar.

    Read from the final checkpoint on the CPU, and kept in the run's folder; nothing is trained. A pair counts where
    either order of its views does. Raises DataError where the run is not finished or its checkpoint is damaged.
    """
    path = run.folder / "features" / f"similar-{str(run.state.get('weights_sha256', ''))[:16]}.json"
    if path.exists():
        found = read_json(path)
        return SimilarPairs(tuple(found["index"]), tuple((i, j) for i, j in found["pairs"]))
    seen = _seen(run, dataset)
    if seen is not None:
        write_atomic(path, json.dumps(asdict(seen)))
    return seen


def _seen(run: Run, dataset: Dataset) -> SimilarPairs | None:
    config = run.config
    if dataset.sha256 != run.state["dataset_sha256"]:
        raise DataError(f"the data of {config.label} are not those it was trained on")
    tensors, _ = read_checkpoint(run.final_checkpoint())
    method = build_method(config, dataset.facts)
    feature_dim: int = method.backbone.feature_dim  # type: ignore[assignment]
    regularizer = build_regularizer(config, method, feature_dim, dataset.facts)
    if regularizer.needs_labels or method.needs_labels:
        source = labelled_batches
    else:
        source = pretraining_batches  # type: ignore[assignment]
    restore_module(method, "method", tensors)
    restore_module(regularizer, "regularizer", tensors)
    views = next(
        iter(
            source(
                dataset,
                config.resolved.views,
                batch_size=config.batch_size,
                seed=config.seed,
                epoch=config.epochs,
                device="cpu",
                workers=reading_workers(dataset.train),
            )
        )
    )
    plain = unlabelled(views) if isinstance(views, LabelledViews) else views
    # In training mode: similarities are read as the loss read them. Only these copies of the modules move.
    with rng.forked(config.seed, "similar pairs"):
        output = method(views if method.needs_labels else plain)
        regularizer(output, views if regularizer.needs_labels else plain, 1.0)
    similar = regularizer.similar_pairs
    if similar is None:
        return None
    either = torch.triu(similar | similar.T, diagonal=1)
    return SimilarPairs(tuple(plain.index.tolist()), tuple((i, j) for i, j in either.nonzero().tolist()))
