"""`dsabench eval`: probe the frozen features of finished runs, and of any model or embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsabench.cli import completion, flags
from dsabench.cli.flags import FILES, MACHINE, OUTPUT, OVERWRITE, SOURCES, WHAT, Measuring, option
from dsabench.cli.groups import grouped
from dsabench.cli.output import console, limit, say_unread
from dsabench.cli.source_flags import Sources
from dsabench.errors import unknown

if TYPE_CHECKING:
    from dsabench.evaluation.classes import ByClass
    from dsabench.tables.rows import Row


@grouped
def evaluate(
    measuring: Measuring,
    sources: Sources,
    run: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs by id or folder; the newest finished one if left out.", autocompletion=completion.runs
        ),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        option(SOURCES, "The architecture of a checkpoint; any model of timm.", "--backbone", metavar="[NAME=]MODEL"),
    ] = None,
    dataset: Annotated[
        str | None,
        option(
            WHAT,
            "Data set to evaluate on.",
            show_default="that of the run",
            env="DSABENCH_DATASET",
            autocompletion=completion.datasets,
        ),
    ] = None,
    data_dir: flags.DataDir = None,
    data_name: flags.DataName = None,
    train_images: flags.TrainImages = None,
    device: Annotated[
        str | None, option(MACHINE, "auto, cuda, mps or cpu.", show_default="the run's, where it is there")
    ] = None,
    threads: Annotated[int | None, option(MACHINE, "CPU threads.", show_default="the run's", min=1)] = None,
    precision: Annotated[str, option(MACHINE, "Of the forward pass: fp32 or bf16.")] = "fp32",
    offline: flags.Offline = False,
    runs: flags.Runs = Path("runs"),
    output: Annotated[Path | None, option(OUTPUT, "Write the rows to FILE.csv.")] = None,
    overwrite: Annotated[str, option(FILES, "never; tables (or always): also one of something else.")] = "never",
    per_class: Annotated[
        bool, option(OUTPUT, "Each class, who crowds whom, the worst placed images; files too.", "--per-class")
    ] = False,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Probe frozen features of finished runs: dsabench eval --probe knn --probe linear

    On the data of the run, or with --dataset on others; on the run's device where it is there, else on the CPU.
    Any other model: dsabench eval --timm vit_small_patch14_dinov2.lvd142m --dataset cifar10
    Embeddings of anything: dsabench eval --features mine=embeddings.npz
    """
    if overwrite not in OVERWRITE:
        raise unknown("value of --overwrite", overwrite, OVERWRITE)
    from dsabench.data.data_config import DataConfig, located
    from dsabench.files import check_writable
    from dsabench.training.run import Run, say
    from dsabench.training.store import Store

    folder = str(data_dir.resolve()) if data_dir else None
    other = (
        DataConfig(name=located(dataset), folder=folder, title=data_name, train_images=train_images)
        if dataset
        else None
    )
    given = sources.parsed(backbone or ())
    what = measuring.config(data=other, device=device, threads=threads, precision=precision, modules=bool(given or run))
    if output:
        check_writable(output)
    store = Store(runs)
    found: list[Run] = [store.find(text) for text in run or []]
    if not found and not given:
        found = [store.newest_finished()]
        say(f"evaluating the newest finished run: {found[0].config.label}, {found[0].folder}")
    for one in found:
        if data_dir and not other:
            say_unread(one, data_dir)
    limit(threads or (found[0].config.threads if found else 1), offline)
    from dsabench.data import Datasets
    from dsabench.evaluation.classes import by_class, write_by_class
    from dsabench.evaluation.encoder import run_encoder
    from dsabench.evaluation.encoders import source_encoders
    from dsabench.evaluation.evaluate import Evaluation
    from dsabench.launch.existing import moved
    from dsabench.report import print_by_class, print_values
    from dsabench.signals import Stop
    from dsabench.tables.replacing import Contents, check_replaceable
    from dsabench.tables.rows import check_unique, record, write_csv
    from dsabench.training.ranks import beside_others

    stop, datasets = Stop().listen(), Datasets(offline=offline)
    # Where other data are named, the folder is theirs.
    encoders = [run_encoder(moved(one, None if other else data_dir), datasets) for one in found]
    encoders += source_encoders(given, datasets, data=other, store=runs)
    rows: list[Row] = []
    classes: list[ByClass] = []
    with beside_others() as ranks:
        # The costly part; what follows is for one.
        if ranks.world_size > 1:
            for encoder in encoders:
                Evaluation(encoder, what, datasets).extract_together(ranks)
        if not ranks.is_writer:
            return
    for encoder in encoders:
        evaluation = Evaluation(encoder, what, datasets)
        if (data := evaluation.dataset) is not None:
            say(f"{encoder.name}: probes learn from {len(data.train):,} training images of {evaluation.title}")
        for layer in evaluation.layers():
            rows += layer.rows(stop)
            if per_class:
                try:
                    classes.append(by_class(layer))
                except ValueError as error:
                    say(f"{encoder.name}, {layer.layer}: nothing to say class by class: {error}")
    check_unique(rows)
    for row in rows:
        if row.status != "ok":
            say(f"{row.spec} s{row.seed}, {row.layer}: no value for {row.probe} {row.metric}: {row.note}")
    if as_json:
        print(json.dumps([record(row) for row in rows]))
    else:
        print_values(console(), rows)
        for one_layer in classes:
            print_by_class(console(), one_layer)
    # After what was measured is printed: a table that is kept costs none of it.
    if output:
        if overwrite == "never":
            check_replaceable(output, Contents.of(rows))
        write_csv(rows, output)
        written = [output, *(write_by_class(classes, output) if per_class else ())]
        say(f"wrote {', '.join(map(str, written))}")
