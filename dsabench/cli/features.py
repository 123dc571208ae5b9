"""`dsabench features`: the features of a run or a model as a table with labels and file names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsabench.cli import flags
from dsabench.cli.flags import MACHINE, OUTPUT, SOURCES, WHAT, option
from dsabench.cli.groups import grouped
from dsabench.cli.output import limit, say_unread
from dsabench.cli.source_flags import Sources
from dsabench.errors import UsageError


@grouped
def features(
    sources: Sources,
    output: Annotated[Path, option(OUTPUT, "FILE.parquet or FILE.npz.")],
    run: Annotated[str | None, typer.Argument(help="A finished run by id or folder.")] = None,
    backbone: Annotated[
        list[str] | None, option(SOURCES, "The architecture of a checkpoint.", "--backbone", metavar="MODEL")
    ] = None,
    dataset: Annotated[
        str | None, option(WHAT, "Data set to read.", show_default="that of the run", env="DSABENCH_DATASET")
    ] = None,
    data_dir: flags.DataDir = None,
    data_name: flags.DataName = None,
    layer: Annotated[str, option(WHAT, "backbone, projector, pixels, smooth[k=20], adjust, or a module.")] = "backbone",
    device: Annotated[str, option(MACHINE, "auto, cuda, mps or cpu.")] = "auto",
    threads: Annotated[int, option(MACHINE, "CPU threads.", min=1)] = 1,
    offline: flags.Offline = False,
    runs: flags.Runs = Path("runs"),
    debug: flags.Debug = False,
) -> None:
    """Write features with labels and file names: dsabench features 3f2a --output features.parquet"""
    from dsabench.config.eval_config import EvalConfig, parse_parts
    from dsabench.data.data_config import DataConfig
    from dsabench.files import check_writable
    from dsabench.training.run import say
    from dsabench.training.store import Store

    folder = str(data_dir.resolve()) if data_dir else None
    data = DataConfig(name=dataset, folder=folder, title=data_name) if dataset else None
    given = sources.parsed(backbone or ())
    if (run is not None) + len(given) != 1:
        raise UsageError("features writes those of one run or one model; name a RUN, --timm or --checkpoint")
    (part,) = parse_parts([layer])
    what = EvalConfig((), data=data, layers=(part,), device=device, threads=threads, modules=True)
    what.check()
    check_writable(output)
    found = Store(runs).find(run) if run is not None else None
    if found and data_dir and not data:
        say_unread(found, data_dir)
    limit(threads, offline)
    from dsabench.data import Datasets
    from dsabench.evaluation.encoder import run_encoder
    from dsabench.evaluation.encoders import source_encoders
    from dsabench.evaluation.evaluate import Evaluation
    from dsabench.evaluation.exporting import check_ending, write_features
    from dsabench.launch.existing import moved

    check_ending(output)
    datasets = Datasets(offline=offline)
    if found:
        # Where other data are named, the folder is theirs.
        encoder = run_encoder(moved(found, None if data else data_dir), datasets)
    else:
        (encoder,) = source_encoders(given, datasets, data=data, store=runs)
    n = write_features(Evaluation(encoder, what, datasets), part, output)
    say(f"wrote {n:,} rows to {output}")
