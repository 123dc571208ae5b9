"""From a declared data set to a loaded one: select, then decode only what was selected, then fingerprint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dsabench import rng
from dsabench.data import DATASETS
from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import Dataset, DatasetSpec, Files, RawDataset, RawSplit, Split
from dsabench.data.sources.decoding import FileSource, common_size, decode_all
from dsabench.data.splits import held_out_count, stratified
from dsabench.errors import UsageError
from dsabench.registry import load

RESIDENT_BYTES = 2 * 2**30
"""Up to this many bytes of pixels, over all splits, are held in memory; larger sets stream."""


def build(config: DataConfig, *, offline: bool) -> Dataset:
    """What `dsabench.data.load_dataset` documents."""
    spec: DatasetSpec = load(DATASETS, "dataset", config.name)
    if config.image_size is not None and config.image_size < 1:
        raise UsageError(f"image size {config.image_size} is not a number of pixels; it must be at least 1")
    raw = spec.builder(Path(config.folder) if config.folder else None, offline)
    parts = _select(spec, raw, config)
    size = (
        config.image_size
        or spec.image_size
        or common_size(p.images for p in parts.values() if isinstance(p.images, Files))
    )
    n_bytes = sum(len(part.labels) for part in parts.values()) * spec.channels * size * size
    splits = {key: _loaded(part, size, n_bytes <= RESIDENT_BYTES) for key, part in parts.items()}
    return Dataset(
        name=config.name,
        **splits,
        classes=raw.classes,
        channels=spec.channels,
        image_size=size,
        mean=spec.mean,
        std=spec.std,
        sha256=fingerprint(raw.classes, splits, size),
    )


def _select(spec: DatasetSpec, raw: RawDataset, config: DataConfig) -> dict[str, RawSplit]:
    """Hold the validation images out first, so that they are the same whatever `train_images` is."""
    labels = raw.train.labels
    held_out = stratified(
        labels, held_out_count(len(labels), len(raw.classes), spec.val_fraction), f"{spec.name} val", leave=1
    )
    remaining = torch.ones(len(labels), dtype=torch.bool)
    remaining[held_out] = False
    train = raw.train.take(remaining.nonzero().squeeze(1))
    train_images = config.train_images
    if train_images is not None:
        if not len(raw.classes) <= train_images <= len(train.labels):
            raise UsageError(
                f"{train_images} training images asked for, but {spec.name} has {len(train.labels)} "
                f"(after validation) in {len(raw.classes)} classes; choose {len(raw.classes)} to {len(train.labels)}"
            )
        if config.subset == "random":
            order = torch.randperm(len(train.labels), generator=rng.generator("split", f"{spec.name} subset"))
            kept = order[:train_images].sort().values
        else:
            kept = stratified(train.labels, train_images, f"{spec.name} train", leave=0)
        train = train.take(kept)
    return {"train": train, "val": raw.train.take(held_out), "test": raw.test}


def _loaded(part: RawSplit, size: int, resident: bool) -> Split:
    if isinstance(part.images, Tensor):
        return Split(part.labels, _resized(part.images, size))
    source = FileSource(part.images, size)
    return Split(part.labels, decode_all(source) if resident else source, part.images.paths, source)


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    return interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def fingerprint(classes: tuple[str, ...], splits: dict[str, Split], size: int) -> str:
    """SHA-256 over the classes and, split by split, the labels and the content of the images.

    Content is the pixels where they are resident. Where they stream it is each file's path below the split's folder
    and its size in bytes, in the fixed order of the split (reading every pixel would cost an epoch), the `size` in
    pixels that they are decoded to, and that views are cut from the images as the files have them.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps(classes).encode())
    for name, split in splits.items():
        digest.update(json.dumps([name, len(split)]).encode())
        digest.update(split.labels.numpy().tobytes())
        if isinstance(split.images, Tensor):
            digest.update(json.dumps(["pixels", size, split.images.shape[1]]).encode())
            digest.update(split.images.contiguous().numpy().data)
        else:
            digest.update(json.dumps(["files", size, "cut"]).encode())
            for entry in split.images.listing():
                digest.update(json.dumps(entry).encode())
    return digest.hexdigest()
