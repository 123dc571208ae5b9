"""Frozen features: extracted once per run, layer and split, and kept in the run's folder under a hash.

A stored layer is a safetensors file that is mapped into memory, not read: features may be larger than memory, and are
written as they are made, a batch at a time.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dsabench.data.dataset import Dataset, Split
from dsabench.data.loader import image_batches, reading_workers
from dsabench.errors import DataError
from dsabench.files import canonical_json, write_atomic
from dsabench.methods.base import Method
from dsabench.training.build import build_method
from dsabench.training.checkpoint import module_state, read_checkpoint, restore_module, tensors_sha256
from dsabench.training.run import Run
from dsabench.types import Features

# `pixels` are the raw images in [0, 1], flattened: the floor under every learned layer.
LAYERS = ("backbone", "projector", "pixels")

BATCH_SIZE = 512


def load_method(run: Run, dataset: Dataset) -> Method:
    """A finished run's method in eval mode; raises DataError where data, weights or their hash are not the run's."""
    check_data(run, dataset)
    method = build_method(run.config, dataset)
    tensors, _ = read_checkpoint(run.final_checkpoint())
    restore_module(method, "method", tensors)
    if tensors_sha256(module_state(method, "method")) != run.state["weights_sha256"]:
        raise DataError(f"the weights of {run.folder} are not those that its run.json names")
    return method.eval()


def check_data(run: Run, dataset: Dataset) -> None:
    """Raise DataError where a run was trained on other data."""
    if run.state["dataset_sha256"] != dataset.sha256:
        raise DataError(
            f"the run {run.folder} was trained on other data: {dataset.name} has the hash {dataset.sha256[:12]}, "
            f"the run's had {str(run.state['dataset_sha256'])[:12]}"
        )


class FeatureStore:
    """The features of one finished run on its data set; the method is loaded when a layer is not stored yet.

    Raises DataError for a run that is not finished or was trained on other data.
    """

    def __init__(self, run: Run, dataset: Dataset) -> None:
        run.check_finished()
        check_data(run, dataset)
        self.run, self.dataset = run, dataset
        self._method: Method | None = None

    def get(self, layer: str, split_name: str) -> Features:
        """Features of a layer (`LAYERS`) on a split: from the run's folder, or extracted and stored."""
        split: Split = getattr(self.dataset, split_name)
        if layer == "pixels":
            return Features(self._pixels(split), split.labels)
        facts = {
            "weights": self.run.state["weights_sha256"],
            "data": self.dataset.sha256,
            "layer": layer,
            "split": split_name,
            "mean": self.dataset.mean,
            "std": self.dataset.std,
        }
        key = hashlib.sha256(canonical_json(facts).encode()).hexdigest()
        path = self.run.folder / "features" / f"{layer}-{split_name}-{key[:16]}.safetensors"
        try:
            return mapped(path, split)
        except (OSError, SafetensorError, KeyError, ValueError):
            # Not stored yet, or damaged: features are derived, so they are simply made again.
            write_atomic(path, stored_form(self._extract(layer, split), split.labels))
            return mapped(path, split)

    def _extract(self, layer: str, split: Split) -> Iterator[Tensor]:
        if self._method is None:
            self._method = load_method(self.run, self.dataset).to(self.run.config.device)
        return extract(self._method, layer, split, self.dataset, self.run.config.device)

    def _pixels(self, split: Split) -> Tensor:
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.dataset.mean, self.dataset.std))
        workers = reading_workers(split)
        batches = image_batches(split, self.dataset, batch_size=BATCH_SIZE, device="cpu", workers=workers)
        return torch.cat([(images * std + mean).flatten(1) for images in batches])


def extract(method: Method, layer: str, split: Split, dataset: Dataset, device: str) -> Iterator[Tensor]:
    """Features (B, D) float32 of a split, in order, from a method in eval mode, whose buffers stay as they are."""
    assert not method.training, "features are read in eval mode"
    workers = reading_workers(split)
    for images in image_batches(split, dataset, batch_size=BATCH_SIZE, device=torch.device(device), workers=workers):
        with torch.no_grad():
            h = method.backbone(images)
            rows = method.projector(h) if layer == "projector" else h
        yield rows.float().cpu()


def stored_form(batches: Iterable[Tensor], labels: Tensor) -> Iterator[bytes]:
    """The parts of a safetensors file of `x` (N, D) float32, given in batches, and `y` (N,) int64.

    Written by hand because safetensors would want all of `x` at once; its header can be known from the first batch.
    """
    remaining = iter(batches)
    first = next(remaining)
    border, end = (labels.nbytes + count * first.shape[1] * 4 for count in (0, len(labels)))
    header = json.dumps(
        {
            "y": {"dtype": "I64", "shape": [len(labels)], "data_offsets": [0, border]},
            "x": {"dtype": "F32", "shape": [len(labels), first.shape[1]], "data_offsets": [border, end]},
        }
    ).encode()
    # Data begins at a multiple of 8, so that the mapped numbers are aligned.
    header += b" " * (-len(header) % 8)
    yield len(header).to_bytes(8, "little") + header
    yield labels.numpy().tobytes()
    for rows in itertools.chain([first], remaining):
        yield rows.numpy().tobytes()


def mapped(path: Path, split: Split) -> Features:
    """The features in a file, which stays their memory; raises ValueError where they are not those of `split`."""
    stored = load_file(path)
    x, y = stored["x"], stored["y"]
    if x.ndim != 2 or x.dtype != torch.float32 or len(x) != len(split) or not torch.equal(y, split.labels):
        raise ValueError(f"{path} holds other features than those of the split")
    return Features(x, y)
