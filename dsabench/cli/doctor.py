"""`dsabench doctor`: what is installed and works here, and what is in a data set and wrong with it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from dsabench.cli import flags
from dsabench.cli.flags import OUTPUT, WHAT, option
from dsabench.cli.groups import grouped
from dsabench.cli.output import console, limit

if TYPE_CHECKING:
    from dsabench.data.dataset import Dataset
    from dsabench.data.duplicates import Twins
    from dsabench.data.examination import Examination

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
    from dsabench.errors import DataError
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
    loaded = load_dataset(config, offline=offline)
    say("\n".join([f"{config.label}: {loaded.notes[0]}", *loaded.notes[1:]]))
    found = examine(loaded)
    leaked = [found.exact.across("test", name) for name in ("train", "val")]
    _show(_json(found, loaded) if as_json else _lines(found, loaded), as_json)
    if any(leaked):
        for pair in _named(found.exact, loaded)[:MOST_NAMED]:
            say(f"the same pixels: {pair}")
        words = f"{leaked[0]:,} test images are in train and {leaked[1]:,} in val, pixel by pixel"
        if strict:
            raise DataError(f"{words}; remove them from one side")
        say(f"warning: {words}")


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
    exact, alike = found.exact, found.perceptual
    lines: dict[str, object] = {}
    for name, counts in found.balance.items():
        lines[f"{name} images"] = f"{sum(counts):,}, {min(counts):,} to {max(counts):,} a class"
    for words, twins in (("same pixels", exact), ("look alike", alike)):
        for name in found.counts:
            lines[f"{words}, within {name}"] = f"{twins.within(name):,}"
        lines[f"{words}, test in train"] = f"{twins.across('test', 'train'):,}"
        lines[f"{words}, test in val"] = f"{twins.across('test', 'val'):,}"
    if found.sizes:
        most = [f"{w}x{h}: {n:,}" for (w, h), n in list(found.sizes.items())[:MOST_NAMED]]
        lines["sizes"] = ", ".join(most) + (
            f", {len(found.sizes) - MOST_NAMED:,} others" if len(found.sizes) > MOST_NAMED else ""
        )
        lines["modes"] = ", ".join(f"{mode}: {n:,}" for mode, n in found.modes.items())
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
    content = asdict(found)
    content["sizes"] = {f"{w}x{h}": n for (w, h), n in found.sizes.items()}
    for kind in ("exact", "perceptual"):
        twins: Twins = getattr(found, kind)
        content[kind] = [[_name(dataset, *place) for place in group] for group in twins.groups]
    return {"dataset": dataset.name, "sha256": dataset.sha256, "notes": list(dataset.notes), **content}


def _name(dataset: Dataset, split: str, position: int) -> str:
    files = getattr(dataset, split).files
    return f"{split} {files.encoded.name(position) if files is not None else position}"


def _named(twins: Twins, dataset: Dataset) -> list[str]:
    """Groups of equal images that lie in test and elsewhere."""
    return [
        " = ".join(_name(dataset, *place) for place in group)
        for group in twins.groups
        if len({split for split, _ in group}) > 1 and any(split == "test" for split, _ in group)
    ]
