"""What leaves the benchmark: the backbone of a run with a card, and features with their labels and file names."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
from safetensors.torch import save
from torch import nn

from dsabench import __version__
from dsabench.backbones import BACKBONES, timm_models
from dsabench.backbones.base import AdjustedBackbone
from dsabench.config.preprocess import Preprocess
from dsabench.config.spec import Part
from dsabench.data.dataset import Dataset, Split
from dsabench.errors import DataError, UsageError
from dsabench.evaluation.encoder import Encoder
from dsabench.evaluation.evaluate import Evaluation
from dsabench.evaluation.features import FeatureStore
from dsabench.evaluation.pooling import network_of
from dsabench.files import check_writable, write_atomic
from dsabench.tables.rows import Row
from dsabench.training.run import Run

WEIGHTS, ADJUSTER = "model.safetensors", "adjuster.safetensors"


class Exported(NamedTuple):
    """The files that were written, and Python that opens the weights."""

    files: tuple[Path, ...]
    code: str


def export(run: Run, encoder: Encoder, rows: Sequence[Row], to: Path) -> Exported:
    """Write the backbone of a run to `to`, a `.safetensors` file or a folder, with a card.

    The weights have the names of the network, so that timm loads them where it has the model; a folder holds a
    config.json for `local-dir:` as well. What the features of a run with an adjuster go through is a file of its own,
    since no model has a place for it. Raises StorageError where it cannot write.
    """
    backbone = encoder.layers["backbone"]
    network = network_of(backbone)
    preprocess = encoder.preprocess
    assert preprocess is not None, "a run says what it wants of images"
    options = timm_options(run.config.backbone, network, preprocess)
    about = {
        "backbone": run.config.backbone,
        "preprocess": preprocess.facts(),
        "labels_used": encoder.labels_used,
        "run_id": run.config.run_id,
        "spec": str(run.config.spec),
        "dsabench_version": __version__,
    }
    single = to.suffix == ".safetensors"
    weights, card = (to, to.with_suffix(".md")) if single else (to / WEIGHTS, to / "README.md")
    check_writable(weights)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    write_atomic(weights, save(tensors, metadata={"format": "pt", "dsabench": json.dumps(about, sort_keys=True)}))
    files = [weights, card]
    code = opened(run.config.backbone, preprocess, options, str(weights))
    shown = opened(run.config.backbone, preprocess, options, weights.name)
    map_file = to.with_suffix(".adjuster.safetensors") if single else to / ADJUSTER
    # That of an earlier export is of other weights.
    map_file.unlink(missing_ok=True)
    if isinstance(backbone, AdjustedBackbone):
        write_atomic(map_file, save({name: tensor.cpu() for name, tensor in backbone.adjuster.state_dict().items()}))
        files.append(map_file)
        code, shown = (f"{text}\n{adjusted(str(path))}" for text, path in ((code, map_file), (shown, map_file.name)))
    write_atomic(card, model_card(run, encoder, rows, weights, shown, options))
    if not single and options is not None:
        config = timm_config(run.config.backbone, preprocess, options)
        write_atomic(to / "config.json", json.dumps(config, indent=1) + "\n")
        files.append(to / "config.json")
    return Exported(tuple(files), code)


def adjusted(path: str) -> str:
    """Python, behind that which opens a `model`, that makes its features those of the run."""
    return (
        "import torch, safetensors.torch\n"
        f'adjuster = safetensors.torch.load_file("{path}")\n'
        "def features(images):\n"
        "    unit = torch.nn.functional.normalize(model(images), dim=1)\n"
        '    return (unit - adjuster["mean"]) @ adjuster["map"]'
    )


def opened(name: str, preprocess: Preprocess, options: Mapping[str, Any] | None, weights: str) -> str:
    """Python that opens weights: timm's where it has the model (`options` are what it takes), else this package's."""
    if options is not None:
        arguments = "".join(f", {key}={value!r}" for key, value in options.items())
        return (
            f'import timm\nmodel = timm.create_model("{name}", num_classes=0{arguments}, checkpoint_path="{weights}")'
        )
    size, channels = preprocess.image_size, preprocess.channels
    return (
        "import dsabench, safetensors.torch\n"
        f'model = dsabench.build_backbone("{name}", channels={channels}, image_size={size}).eval()\n'
        f'model.network.load_state_dict(safetensors.torch.load_file("{weights}"))'
    )


def timm_options(name: str, network: nn.Module, preprocess: Preprocess) -> dict[str, Any] | None:
    """The arguments with which timm makes a model of these weights; None where it has no such model."""
    if not timm.is_model(name):
        return None
    options: dict[str, Any] = {"in_chans": preprocess.channels} if preprocess.channels != 3 else {}
    small = timm_models.stem_options(name, preprocess.image_size)
    model = timm.create_model(name, num_classes=0, **options, **small)
    ours = {key: tensor.shape for key, tensor in network.state_dict().items()}
    theirs = {key: tensor.shape for key, tensor in model.state_dict().items()}
    return {**options, **small} if ours == theirs else None


def timm_config(name: str, preprocess: Preprocess, options: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json that timm reads beside weights."""
    size, channels = preprocess.image_size, preprocess.channels
    return {
        "architecture": name,
        "num_classes": 0,
        "model_args": dict(options),
        "pretrained_cfg": {
            "input_size": [channels, size, size],
            "fixed_input_size": "img_size" in options,
            "interpolation": preprocess.interpolation,
            "crop_pct": preprocess.crop_pct or 1.0,
            "crop_mode": preprocess.crop_mode or "center",
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "num_classes": 0,
        },
    }


def model_card(
    run: Run, encoder: Encoder, rows: Sequence[Row], weights: Path, code: str, options: Mapping[str, Any] | None
) -> str:
    """What the weights are, the `code` that loads them, and the numbers with their protocol, as Markdown."""
    config = run.config
    preprocess = encoder.preprocess
    assert preprocess is not None, "a run says what it wants of images"
    loaded = f"```python\n{code}\n```"
    if options is None:
        loaded += (
            f"\n\nThis is not one of timm's models as timm makes it; `dsabench eval --checkpoint {weights.name} "
            "--dataset NAME` evaluates it."
        )
    if isinstance(encoder.layers["backbone"], AdjustedBackbone):
        loaded += (
            "\n\nThe numbers are of features that go through the adjuster. `dsabench eval --checkpoint` reads the "
            "weights alone; `--layer adjust` fits an adjuster to the data that they are evaluated on."
        )
    kind = "preset of dsabench" if config.backbone in BACKBONES else "model of timm"
    lines = [
        f"# {config.label}",
        "",
        f"`{config.backbone}` ({kind}), pretrained with `{config.spec}` for {config.epochs} epochs of "
        f"{config.data.label} in batches of {config.batch_size}, seed {config.seed}.",
        "",
        f"Labels used: {encoder.labels_used}.",
        "",
        loaded,
        "",
        f"Preprocessing: `{preprocess}`",
        "",
        f"Run `{config.run_id}`, protocol {config.protocol}, data {encoder.data_sha256}, dsabench {__version__}.",
        "",
        "| data | split | layer | measured | parameters | value |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r.dataset} | {r.split} | {r.layer} | {r.probe} {r.metric} | `{r.probe_params}` | {r.value} |"
            for r in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def write_features(evaluation: Evaluation, layer: Part, path: Path) -> int:
    """Write the features of all splits with labels and file names to a `.npz` or `.parquet`; returns how many rows.

    Raises UsageError for another ending, or where pyarrow is not installed, DataError for embeddings, which are a file.
    """
    store = evaluation.store
    if not isinstance(store, FeatureStore):
        raise DataError(f"{evaluation.encoder.name} is a file of embeddings already")
    dataset = store.dataset
    check_ending(path)
    columns = {split: (store.get(layer, split), names_of(dataset, split)) for split in ("train", "val", "test")}
    words = np.asarray(dataset.classes)
    data = io.BytesIO()
    if path.suffix == ".npz":
        arrays: dict[str, Any] = {}
        for split, (features, names) in columns.items():
            arrays[f"x_{split}"], arrays[f"y_{split}"] = features.x.numpy(), words[features.y.numpy()]
            arrays[f"filename_{split}"] = np.asarray(names)
        np.savez(data, **arrays)
    else:
        import pyarrow
        from pyarrow import parquet

        dim = columns["train"][0].x.shape[1]
        tables = [
            pyarrow.table(
                {
                    "filename": names,
                    "label": words[features.y.numpy()].tolist(),
                    "split": [split] * len(names),
                    "embedding": pyarrow.FixedSizeListArray.from_arrays(features.x.numpy().ravel(), dim),
                }
            )
            for split, (features, names) in columns.items()
        ]
        parquet.write_table(pyarrow.concat_tables(tables), data)
    write_atomic(path, data.getvalue())
    return sum(len(names) for _, names in columns.values())


def check_ending(path: Path) -> None:
    """Raise UsageError for a file that features are not written to."""
    if path.suffix not in (".npz", ".parquet"):
        raise UsageError(f"features are written to a file that ends in .npz or .parquet, not {path.name!r}")
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise UsageError(f"{path} needs pyarrow; pip install 'dsabench[parquet]'") from error


def names_of(dataset: Dataset, split_name: str) -> list[str]:
    """The file names of a split's images in their order, or their positions where there are no files."""
    split: Split = getattr(dataset, split_name)
    return list(split.paths) or [f"{split_name}/{position}" for position in range(len(split))]
