"""`dsabench doctor`: what is installed and works here, and what is in a data set and wrong with it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from dsabench.cli import flags
from dsabench.cli.flags import OUTPUT, WHAT, option
from dsabench.cli.groups import grouped
from dsabench.cli.output import console, limit

if TYPE_CHECKING:
    from dsabench.data.data_config import DataConfig
    from dsabench.data.dataset import Dataset
    from dsabench.data.duplicates import Group, Twins
    from dsabench.data.examination import Examination, Repeated

# What each extra brings, by the name that it is imported by.
EXTRAS = {
    "hf": "datasets",
    "parquet": "pyarrow",
    "slurm": "submitit",
    "tensorboard": "tensorboard",
    "umap": "umap",
    "detection": "faster_coco_eval",
}
MOST_NAMED = 5
# In which splits an image of another one does harm.
ACROSS = (("test", "train"), ("test", "val"), ("val", "train"))
# What equal images are, the worst first.
KINDS = (*(f"{one} in {other}" for one, other in ACROSS), "within val", "within test", "within train")
# So many of the normaliser's standard deviations from its mean are doubted.
FAR = 1.0


@grouped
def doctor(
    dataset: Annotated[
        str | None, option(WHAT, "Examine this data set.", env="DSABENCH_DATASET", show_default="the installation")
    ] = None,
    data_dir: flags.DataDir = None,
    data_name: flags.DataName = None,
    image_size: flags.ImageSize = None,
    val_share: flags.ValShare = None,
    group_by: flags.GroupBy = None,
    strict: Annotated[
        bool, option(OUTPUT, "Exit with 3 where test images are among those that are trained on.", "--strict")
    ] = False,
    offline: flags.Offline = False,
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Check what is installed, or what is in a data set: dsabench doctor --dataset digits

    Of a data set: duplicates within and across splits (the same pixels, or the same to look at), class balance, sizes,
    and the accuracies that take no learning: the largest class, shuffled labels, neighbours of raw pixels.
    """
    limit(1, offline)
    if dataset is None:
        _show(_installation(runs), as_json)
        return
    from dsabench.config.request import check_data
    from dsabench.data import load_dataset
    from dsabench.data.data_config import DataConfig, located
    from dsabench.data.examination import examine
    from dsabench.errors import DataError, DsabenchError
    from dsabench.training.run import say

    config = DataConfig(
        name=located(dataset),
        folder=str(data_dir.resolve()) if data_dir else None,
        title=data_name,
        image_size=image_size,
        val_share=val_share,
        group_by=group_by,
    )
    check_data(config)
    try:
        loaded = load_dataset(config, offline=offline)
        say("\n".join([f"{config.label}: {loaded.notes[0]}", *loaded.notes[1:]]))
        found = examine(loaded)
    except DataError:
        # What is wrong beside it is told too, as far as the folder can be listed.
        with suppress(DsabenchError):
            for line in _of_the_readable(config, offline):
                say(line)
        raise
    _show(_json(found, loaded) if as_json else _lines(found, loaded), as_json)
    for line in _told(found, loaded, ", see --json"):
        say(line)
    for words in _doubts(found, loaded):
        say(words)
    if leaked := _leaked(found.exact):
        if strict:
            raise DataError(f"{leaked}; remove them from one side")
        say(f"warning: {leaked}")


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found))
        return
    from dsabench.report import print_listing

    print_listing(console(), "checks", [{"check": name, "found": str(value)} for name, value in found.items()])


def _installation(runs: Path) -> dict[str, object]:
    """Versions, device, threads, the run store, extras."""
    import os
    import platform
    from importlib import metadata
    from importlib.util import find_spec

    import torch

    from dsabench import __version__
    from dsabench.config.plan import resolve_device, resolve_precision
    from dsabench.errors import StorageError
    from dsabench.files import check_writable
    from dsabench.training.provenance import blas_version, device_name, processor_capability

    device = resolve_device("auto")
    try:
        check_writable(runs / "doctor")
        store = "writable"
    except StorageError as error:
        store = str(error)
    packages = ("torch", "torchvision", "timm", "lightly", "numpy", "scipy", "scikit-learn")
    return {
        "dsabench": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        "device": f"{device_name(device)}, {processor_capability(device)}, {resolve_precision('auto', device)}",
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} cores",
        "linear algebra": blas_version(),
        f"run store {runs}": store,
        **{
            f"extra {extra}": "installed" if find_spec(module) else f"missing: pip install 'dsabench[{extra}]'"
            for extra, module in EXTRAS.items()
        },
    }


def _lines(found: Examination, dataset: Dataset) -> dict[str, object]:
    """The findings as a person reads them."""
    from dsabench.data.sources.decoding import SIXTEEN_BITS

    exact, alike = found.exact, found.perceptual
    lines: dict[str, object] = {}
    for name, counts in found.balance.items():
        least, most = min(counts), max(counts)
        lines[f"{name} images"] = f"{sum(counts):,}, {least:,}{f' to {most:,}' if most > least else ''} a class"
    for words, twins in (("same pixels", exact), ("look alike", alike)):
        counted = {f"{words}, within {name}": twins.within(name) for name in found.counts}
        counted |= {f"{words}, {one} in {other}": twins.across(one, other) for one, other in ACROSS}
        lines |= {name: f"{count:,}" for name, count in counted.items() if count} or {words: "none"}
    if differ := sum(len(_classes(group, dataset)) > 1 for group in exact.groups):
        lines["same pixels, different classes"] = f"{differ:,}"
    if found.sizes:
        shown = [f"{w}x{h}: {n:,}" for (w, h), n in list(found.sizes.items())[:MOST_NAMED]]
        lines["sizes"] = ", ".join(shown) + (
            f", {len(found.sizes) - MOST_NAMED:,} others" if len(found.sizes) > MOST_NAMED else ""
        )
        lines["modes"] = ", ".join(f"{mode}: {n:,}" for mode, n in found.modes.items())
    if found.deep is not None:
        lines["16 bits"] = f"divided by {SIXTEEN_BITS // 255}; largest value {found.deep.largest:,} of {SIXTEEN_BITS:,}"
    lines["mean of train"] = _numbers(found.mean, dataset.mean)
    lines["std of train"] = _numbers(found.std, dataset.std)
    lines["largest class, test"] = f"{found.largest_share:.1%}"
    lines["kNN on pixels, labels shuffled"] = f"{found.shuffled:.1%}"
    lines["kNN on pixels"] = f"{found.floor:.1%}"
    return lines


def _numbers(measured: tuple[float, ...], declared: tuple[float, ...]) -> str:
    return f"{' '.join(f'{x:.4f}' for x in measured)} (normalised by {' '.join(f'{x:.4f}' for x in declared)})"


def _json(found: Examination, dataset: Dataset) -> dict[str, object]:
    """The findings in full."""
    content = asdict(found) | {"deepest": found.deep.largest if found.deep else None}
    content["sizes"] = {f"{w}x{h}": n for (w, h), n in found.sizes.items()}
    for kind in ("exact", "perceptual"):
        twins: Twins = getattr(found, kind)
        content[kind] = [[_name(dataset, *place) for place in group] for group in twins.groups]
    content["different_classes"] = [
        [_name(dataset, *place) for place in group] for group in found.exact.groups if len(_classes(group, dataset)) > 1
    ]
    return {"dataset": dataset.name, "sha256": dataset.sha256, "notes": list(dataset.notes), **content}


def _name(dataset: Dataset, split: str, position: int) -> str:
    files = getattr(dataset, split).files
    return f"{split} {files.encoded.name(position) if files is not None else position}"


def _classes(group: Group, dataset: Dataset) -> list[str]:
    """The classes of the images of a group, each once."""
    labels = (int(getattr(dataset, split).labels[position]) for split, position in group)
    return list(dict.fromkeys(dataset.classes[label] for label in labels))


def _named(group: Group, dataset: Dataset) -> str:
    """The images of a group, with their classes where those are not the same."""
    words = " = ".join(_name(dataset, *place) for place in group)
    classes = _classes(group, dataset)
    return words if len(classes) < 2 else f"{words}, of different classes: {', '.join(classes)}"


def _of_the_readable(config: DataConfig, offline: bool) -> list[str]:
    """Of a user's own images, some of which cannot be read, which of the others are there twice, in words."""
    from dsabench.data.data_config import USERS_OWN
    from dsabench.data.examination import duplicates
    from dsabench.data.loading import unread

    if config.kind not in USERS_OWN:
        return []
    listed = unread(config, offline=offline)
    found, unreadable = duplicates(listed)
    return [f"of the images that can be read, {line}" for line in _told(found, listed)] if unreadable else []


def _told(found: Examination | Repeated, dataset: Dataset, rest: str = "") -> list[str]:
    """A line for each kind of equal images, with the first of them by name and where the `rest` are."""
    lines = []
    for words, groups in repeated(found):
        shown = [_named(group, dataset) for group in groups[:MOST_NAMED]]
        more = [f"and {len(groups) - MOST_NAMED:,} more{rest}"] if len(groups) > MOST_NAMED else []
        lines.append(f"{words}: {'; '.join([*shown, *more])}")
    return lines


def repeated(found: Examination | Repeated) -> list[tuple[str, list[Group]]]:
    """The groups of equal images, each named once, under the worst that it is; of those that look alike, the ones whose
    pixels are not the same."""
    same = {frozenset(group) for group in found.exact.groups}
    alike = tuple(group for group in found.perceptual.groups if frozenset(group) not in same)
    told: dict[str, list[Group]] = {}
    for words, groups in (("same pixels", found.exact.groups), ("look alike", alike)):
        for group in sorted(groups, key=lambda group: KINDS.index(_kind(group))):
            told.setdefault(f"{words}, {_kind(group)}", []).append(group)
    return list(told.items())


def _kind(group: Group) -> str:
    """What a group of equal images is, the worst first: `test in train`, `within val`."""
    splits = {split for split, _ in group}
    for one, other in ACROSS:
        if {one, other} <= splits:
            return f"{one} in {other}"
    return f"within {group[0][0]}"


def _leaked(twins: Twins) -> str:
    """How many test images are trained or chosen on, in words; empty where none are."""
    counts = {name: twins.across("test", name) for name in ("train", "val")}
    parts = [f"{n:,} test {'image is' if n == 1 else 'images are'} in {name}" for name, n in counts.items() if n]
    return " and ".join(parts) + ", pixel by pixel" if parts else ""


def _doubts(found: Examination, dataset: Dataset) -> list[str]:
    """What is hardly meant and was not said when the images were read: 16 bits that come out dark, pixels far from what
    normalises them."""
    from dsabench.data.notes import dark_note

    dark = dark_note(found.deep, sum(found.counts.values()))
    doubts = [dark] if dark and dark not in dataset.notes else []
    away = max(abs(m - d) / s for m, d, s in zip(found.mean, dataset.mean, dataset.std, strict=True))
    if away > FAR:
        doubts.append(
            f"warning: the mean of train is {away:.1f} standard deviations from what the pixels are normalised by"
        )
    return doubts
