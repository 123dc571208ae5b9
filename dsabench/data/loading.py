"""From a declared data set to a loaded one: select, then decode only what was selected, then fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dsabench import rng
from dsabench.data import DATASETS
from dsabench.data.contamination import contaminated
from dsabench.data.data_config import DataConfig, parse_contamination
from dsabench.data.dataset import Contaminated, Dataset, DatasetSpec, RawDataset, RawSplit, Split
from dsabench.data.notes import reading_notes
from dsabench.data.sources.decoding import Deep, FileSource, decode_all, together, told_unreadable
from dsabench.data.sources.sizes import Sizes, common_size
from dsabench.data.splits import groups_of, held_out_count, stratified, whole_groups
from dsabench.errors import DataError, UsageError
from dsabench.registry import load

RESIDENT_BYTES = 2 * 2**30
"""Up to this many bytes of pixels, over all splits, are held in memory; larger sets stream."""

TEST_FRACTION = 0.2
"""Held out of a set that has no test images of its own."""


def build(config: DataConfig, *, offline: bool) -> Dataset:
    """What `dsabench.data.load_dataset` documents."""
    spec: DatasetSpec = load(DATASETS, "dataset", config.kind)
    if config.image_size is not None and config.image_size < 1:
        raise UsageError(f"image size {config.image_size} is not a number of pixels; it must be at least 1")
    if config.val_share is not None and not 0 < config.val_share < 1:
        raise UsageError(f"--val-share must lie between 0 and 1, got {config.val_share:g}")
    raw = spec.builder(config, offline)
    if raw.problems:
        whole = {"train": raw.train, "test": raw.test, "val": raw.val}
        _decoded(spec, {name: part for name, part in whole.items() if part}, config, raw.problems)
    chosen = select(spec, raw, config)
    splits, sizes, deep = _decoded(spec, chosen.splits, config)
    notes = reading_notes(raw, splits, sizes, chosen.origins, deep)
    return Dataset(
        name=config.name,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        classes=raw.classes,
        channels=spec.channels,
        image_size=sizes.chosen,
        mean=spec.mean,
        std=spec.std,
        sha256=fingerprint(raw.classes, splits, sizes.chosen),
        notes=notes,
        contaminated=contaminate(splits["train"], config, (spec.channels, sizes.chosen), offline),
    )


def unread(config: DataConfig, *, offline: bool) -> Dataset:
    """The splits of a data set whose images are read when somebody asks for them, whether or not all can be.

    It has neither hash nor notes: it is for whoever looks for what is wrong. Raises as `build` does, not for images.
    """
    spec: DatasetSpec = load(DATASETS, "dataset", config.kind)
    raw = spec.builder(config, offline)
    chosen = select(spec, raw, config).splits
    size = _sizes(spec, chosen, config).chosen
    splits = {key: _loaded(part, size, False, [])[0] for key, part in chosen.items()}
    return Dataset(
        name=config.name,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        classes=raw.classes,
        channels=spec.channels,
        image_size=size,
        mean=spec.mean,
        std=spec.std,
        sha256="",
    )


def contaminate(train: Split, config: DataConfig, shape: tuple[int, int], offline: bool) -> Contaminated | None:
    """What is trained on where outliers are put in; a foreign data set is looked for where downloads usually go."""
    if config.contaminate is None:
        return None
    shares = parse_contamination(config.contaminate)
    foreign = DataConfig(name=shares.source, image_size=shape[1]) if shares.source else None
    return contaminated(train, shares, build(foreign, offline=offline).train if foreign else None, shape)


class Selection(NamedTuple):
    """The images of each split, and where those of `val` and `test` come from, in words."""

    splits: dict[str, RawSplit]
    origins: dict[str, str]


def select(spec: DatasetSpec, raw: RawDataset, config: DataConfig) -> Selection:
    """Hold the test and the validation images out first, so that they are the same whatever `train_images` is."""
    pattern = config.group_by or spec.group_by
    train, test, val = raw.train, raw.test, raw.val
    origins = {"test": raw.test_from, "val": "its own"}
    whole = ", whole groups" if pattern else ""
    if test is None:
        train, test = _hold_out(train, raw, TEST_FRACTION, f"{spec.name} test", pattern, leave=2)
        origins["test"] = f"a fifth held out{whole}"
    if val is None or config.val_share is not None:
        if val is not None:
            raise UsageError(f"--val-share: {spec.name} has validation images of its own")
        share = config.val_share or spec.val_fraction
        train, val = _hold_out(train, raw, share, f"{spec.name} val", pattern, leave=1)
        origins["val"] = f"{share * 100:g}% of train{whole}"
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
    return Selection({"train": train, "val": val, "test": test}, origins)


def _hold_out(
    part: RawSplit, raw: RawDataset, share: float, purpose: str, pattern: str | None, *, leave: int
) -> tuple[RawSplit, RawSplit]:
    """What is left of `part` and the share that is held out of it: stratified by label, or in whole groups."""
    count = held_out_count(len(part.labels), len(raw.classes), share)
    if pattern is None:
        most = len(part.labels) - leave * len(raw.classes)
        if count > most:
            raise UsageError(f"{share:g} of {len(part.labels)} images leaves some class without any; hold out less")
        held_out = stratified(part.labels, count, purpose, leave=leave)
    elif isinstance(part.images, Tensor):
        raise UsageError("--group-by reads groups off the names of files, and these images have none")
    else:
        names = map(part.images.name, range(len(part.images)))
        held_out = whole_groups(part.labels, groups_of(names, pattern), count, purpose)
    remaining = torch.ones(len(part.labels), dtype=torch.bool)
    remaining[held_out] = False
    return part.take(remaining.nonzero().squeeze(1)), part.take(held_out)


def _decoded(
    spec: DatasetSpec, parts: Mapping[str, RawSplit], config: DataConfig, problems: Sequence[str] = ()
) -> tuple[dict[str, Split], Sizes, Deep | None]:
    """The splits at one size, resident where they fit, and the images of 16 bits that were decoded for it.

    Raises DataError that tells all there is: the `problems` that are known, every image that cannot be read, the sizes.
    """
    sizes = _sizes(spec, parts, config)
    n_bytes = sum(len(part.labels) for part in parts.values()) * spec.channels * sizes.chosen**2
    resident = n_bytes <= RESIDENT_BYTES
    unreadable = [] if resident else list(sizes.unreadable)
    loaded = {key: _loaded(part, sizes.chosen, resident, unreadable) for key, part in parts.items()}
    if problems or unreadable:
        raise DataError("\n".join([*problems, *told_unreadable(unreadable), *([sizes.note] if sizes.note else [])]))
    deep = together(deep for _, deep in loaded.values())
    return {key: split for key, (split, _) in loaded.items()}, sizes, deep


def _sizes(spec: DatasetSpec, parts: Mapping[str, RawSplit], config: DataConfig) -> Sizes:
    size = config.image_size or spec.image_size
    if size:
        return Sizes(size, "", ())
    return common_size([part.images for part in parts.values() if not isinstance(part.images, Tensor)])


def _loaded(part: RawSplit, size: int, resident: bool, unreadable: list[str]) -> tuple[Split, Deep | None]:
    if isinstance(part.images, Tensor):
        return Split(part.labels, _resized(part.images, size)), None
    source = FileSource(part.images, size)
    if not resident:
        return Split(part.labels, source, source), None
    images, deep = decode_all(source, unreadable)
    return Split(part.labels, images, source), deep


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
