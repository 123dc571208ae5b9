"""`dsabench compare`: train what is missing, evaluate, and compare over paired seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dsabench.cli import flags
from dsabench.cli.flags import TRAINING, WHAT, option
from dsabench.cli.output import console, evaluation, limit, overwriting, print_configs, print_plan, progress
from dsabench.errors import UsageError


def compare(
    specs: Annotated[list[str], typer.Argument(help="METHOD or METHOD+REGULARIZER; the first is the baseline.")],
    seeds: Annotated[str, option(TRAINING, "Paired seeds: a list or a range.", env="DSABENCH_SEEDS")] = "0-5",
    dataset: flags.Dataset = "digits",
    data_dir: flags.DataDir = None,
    data_name: flags.DataName = None,
    train_images: flags.TrainImages = None,
    image_size: flags.ImageSize = None,
    backbone: flags.Backbone = None,
    epochs: flags.Epochs = None,
    batch_size: flags.BatchSize = None,
    settings: flags.Settings = None,
    augment: flags.Augment = "batched",
    probe: flags.Probes = None,
    primary: Annotated[str, option(WHAT, "The one metric that carries the verdict.")] = "cdnv",
    split: Annotated[str, option(WHAT, "test or val.")] = "test",
    layer: Annotated[
        list[str] | None, option(WHAT, "backbone, projector or pixels; repeatable.", show_default="backbone")
    ] = None,
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = 1,
    jobs: Annotated[
        int | None,
        option(flags.MACHINE, "Runs side by side; changes no number.", show_default="cores / threads", min=1),
    ] = None,
    deterministic: flags.Deterministic = False,
    compile: flags.Compile = False,
    offline: flags.Offline = False,
    config: flags.Config = None,
    runs: flags.Runs = Path("runs"),
    output: Annotated[
        str | None,
        option(
            flags.FILES,
            "NAME.csv and NAME-summary.csv are written.",
            metavar="NAME",
            show_default="results/SPEC-vs-SPEC",
        ),
    ] = None,
    overwrite: flags.Overwrite = "never",
    dry_run: flags.DryRun = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
    debug: flags.Debug = False,
) -> None:
    """Train what is missing, evaluate, and compare: dsabench compare simclr simclr+dsa"""
    always = overwriting(overwrite)
    if len(specs) < 2:
        raise UsageError(
            "compare needs at least two specs, the baseline first, as in: dsabench compare simclr simclr+dsa"
        )
    limit(threads, offline)
    from dsabench.config.plan import Request, plan
    from dsabench.config.spec import parse_seeds
    from dsabench.evaluation.evaluate import mcnemar_by_seed, with_primary
    from dsabench.files import check_writable, slug
    from dsabench.launch.jobs import Job, default_jobs, run_all
    from dsabench.launch.work import validate
    from dsabench.report import finding, per_image, print_comparisons, print_overview, write_summary
    from dsabench.signals import Stop
    from dsabench.tables.comparisons import compare_rows, cost_ratios, parse_primary
    from dsabench.tables.rows import check_unique, write_csv
    from dsabench.training.run import say

    request = Request(
        dataset, data_dir, data_name, train_images, image_size, backbone, epochs, batch_size, device, precision,
        threads, deterministic, offline, tuple(settings or ()), augment, compile,
    )  # fmt: skip
    stop = Stop().listen()
    chosen = parse_primary(primary)
    what = with_primary(evaluation(probe, layer, split), chosen)
    planned = plan(request, specs, parse_seeds(seeds))
    arms = list(dict.fromkeys(str(one.spec) for one in planned))
    if dry_run:
        print_plan(planned, runs, offline, as_json)
        return
    name = output or str(Path("results") / slug(f"{planned[0].title}-{'-vs-'.join(arms)}"))
    table, summary = Path(f"{name}.csv"), Path(f"{name}-summary.csv")
    for path in (table, summary):
        check_writable(path)
    for one in planned[: len(arms)]:
        validate(one, runs, offline=offline)
    if verbose:
        print_configs(planned)
    work = [Job(one, what, runs, always, offline) for one in planned]
    with progress(len(work), quiet) as display:
        rows = run_all(work, jobs or default_jobs(threads, planned[0].device), stop, display)
    check_unique(rows)
    write_csv(rows, table)
    comparisons = compare_rows(rows, arms, chosen, what.layers[0])
    write_summary(comparisons, summary, extra={"dataset": planned[0].title, "split": split})
    sentence = finding(comparisons, cost_ratio=cost_ratios(rows, comparisons))
    if as_json:
        print(json.dumps({"finding": sentence, "rows": str(table), "summary": str(summary)}))
    else:
        out = console()
        print_overview(out, rows, layer=what.layers[0])
        if len(arms) == 2:
            # Of more arms the sentences below say what carries a verdict; the summary has the rest.
            print_comparisons(out, comparisons)
        images = per_image(mcnemar_by_seed(planned, comparisons, what, runs, offline=offline))
        if images:
            out.print(images + "\n")
        out.print(sentence)
    say(f"wrote {table} and {summary}")
    failed = [row for row in rows if row.status == "failed"]
    if failed:
        say(f"{len(failed)} of {len(work)} runs failed; their run.json says why")
        raise typer.Exit(1)
