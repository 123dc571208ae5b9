"""Frozen features: extracted once per run, layer and split, and kept in the run's folder under a hash."""

from __future__ import annotations

import hashlib

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dsabench.build import build_method
from dsabench.checkpoint import module_state, read_checkpoint, restore_module, tensors_sha256
from dsabench.data.loader import image_batches, reading_workers
from dsabench.data.spec import Dataset, Split
from dsabench.errors import DataError
from dsabench.results import canonical_json
from dsabench.runs import Run
from dsabench.storage import write_atomic
from dsabench.types import Features, Method

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
            stored = load_file(path)
            return Features(stored["x"], stored["y"])
        except (OSError, SafetensorError, KeyError):
            # Not stored yet, or damaged: features are derived, so they are simply made again.
            features = Features(self._extract(layer, split), split.labels)
            write_atomic(path, save({"x": features.x, "y": features.y}))
            return features

    def _extract(self, layer: str, split: Split) -> Tensor:
        if self._method is None:
            self._method = load_method(self.run, self.dataset).to(self.run.config.device)
        return extract(self._method, layer, split, self.dataset, self.run.config.device)

    def _pixels(self, split: Split) -> Tensor:
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.dataset.mean, self.dataset.std))
        workers = reading_workers(split)
        batches = image_batches(split, self.dataset, batch_size=BATCH_SIZE, device="cpu", workers=workers)
        return torch.cat([(images * std + mean).flatten(1) for images in batches])


@torch.no_grad()
def extract(method: Method, layer: str, split: Split, dataset: Dataset, device: str) -> Tensor:
    """Features (N, D) float32 of a split, in order, from a method in eval mode, whose buffers stay as they are."""
    assert not method.training, "features are read in eval mode"
    rows = []
    workers = reading_workers(split)
    for images in image_batches(split, dataset, batch_size=BATCH_SIZE, device=torch.device(device), workers=workers):
        h = method.backbone(images)
        rows.append((method.projector(h) if layer == "projector" else h).float().cpu())
    return torch.cat(rows)
