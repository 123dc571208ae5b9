"""The benchmark as a program calls it: evaluate a model, load a trained one, read and compare rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from dsabench.backbones.base import Backbone
from dsabench.config.eval_config import EvalConfig, parse_parts
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.evaluation.encoder import Encoder, module_encoder, run_encoder
from dsabench.evaluation.evaluate import evaluate as evaluate_encoder
from dsabench.evaluation.words import CORE, asked
from dsabench.signals import Stop
from dsabench.stats import Comparison
from dsabench.tables.comparisons import compare_rows
from dsabench.tables.criteria import GUARDS, Criteria, parse_guard, parse_primary
from dsabench.tables.rows import COLUMNS, Row, read_csv, record
from dsabench.training.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame


def evaluate(
    encoder: Encoder | nn.Module,
    data: DataConfig | str = "digits",
    *,
    name: str | None = None,
    labels_used: str = "none",
    probes: Sequence[str] = CORE,
    layers: Sequence[str] = ("backbone",),
    split: str = "test",
    offline: bool = False,
) -> list[Row]:
    """The rows of the tidy table of a model on a data set.

    A plain module maps images (B, C, H, W), normalised by the data set's own mean and standard deviation, to features
    (B, D); `name` is what tables call it, `labels_used` says whether labels trained it (`none` or `training`). It is
    put into eval mode for the time, and nothing of it changes. Raises UsageError for a name that does not exist,
    DataError for data that are not there.
    """
    config = data if isinstance(data, DataConfig) else DataConfig(name=data)
    datasets = Datasets(offline=offline)
    what = EvalConfig(tuple(probes), data=config, layers=parse_parts(tuple(layers)), split=split)
    what.check()
    asked(what.probes)
    if isinstance(encoder, Encoder):
        return evaluate_encoder(encoder, what, datasets, stop=Stop())
    was_training = encoder.training
    try:
        made = module_encoder(encoder.eval(), name or type(encoder).__name__, datasets.load(config).facts, labels_used)
        return evaluate_encoder(made, what, datasets, stop=Stop())
    finally:
        encoder.train(was_training)


def load_backbone(run: str | Path, runs: str | Path = "runs", *, offline: bool = False) -> Backbone:
    """The backbone of a finished run in eval mode, by the run's folder or the beginning of its id in the store `runs`.

    It maps images (B, C, H, W), normalised by its `mean` and `std`, to features (B, D); of pixels that is
    `backbone(backbone.normalise(pixels))`. Those of a run with an adjuster are adjusted. Raises DataError where there
    is no such run, or it is not finished.
    """
    encoder = run_encoder(Store(Path(runs)).find(str(run)), Datasets(offline=offline))
    backbone = encoder.layers["backbone"]
    assert isinstance(backbone, Backbone)
    assert encoder.preprocess is not None
    backbone.mean, backbone.std = encoder.preprocess.mean, encoder.preprocess.std
    return backbone


def frame(rows: Sequence[Row] | Sequence[Comparison] | str | Path) -> DataFrame:
    """Rows, those of a `NAME.csv`, or what `compare` returns as a pandas DataFrame: one column each.

    Raises DataError for a file that is missing, damaged or of another schema.
    """
    # It takes a second to import, and no command needs it.
    from pandas import DataFrame

    found = read_csv(Path(rows)) if isinstance(rows, str | Path) else rows
    records = [_fields(one) if isinstance(one, Comparison) else record(one) for one in found]
    return DataFrame(records, columns=list(records[0] if records else COLUMNS))


def _fields(comparison: Comparison) -> dict[str, object]:
    """The fields of a comparison by name, its key in the parts that rows have too."""
    named: dict[str, object] = {}
    for field in fields(comparison):
        if field.name == "key":
            layer, probe, params, metric = comparison.key
            named |= {"layer": layer, "probe": probe, "probe_params": params, "metric": metric}
        else:
            named[field.name] = getattr(comparison, field.name)
    return named


def compare(
    rows: Sequence[Row] | str | Path,
    *,
    primary: str = "cdnv",
    guards: Sequence[str] = GUARDS,
    layer: str = "backbone",
) -> list[Comparison]:
    """The paired comparisons of the specs in `rows`, or in a `NAME.csv`, in order of appearance, the first of them the
    baseline; `frame` makes a table of them.

    Raises NothingToCompare where no two of them have finished runs, UsageError for a metric that carries no verdict,
    DataError for a file as `frame` does.
    """
    criteria = Criteria(parse_primary(primary), tuple(map(parse_guard, guards)))
    found = read_csv(Path(rows)) if isinstance(rows, str | Path) else rows
    return compare_rows(found, list(dict.fromkeys(row.spec for row in found)), criteria, layer)
