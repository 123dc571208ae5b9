"""`dsabench pretrain`: train one run, or go on with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from dsabench.cli import flags
from dsabench.cli.flags import TRAINING, WHAT, option
from dsabench.cli.output import limit, overwriting, print_configs, print_plan, progress


def pretrain(
    method: Annotated[
        str, option(WHAT, "METHOD or METHOD+REGULARIZER, options in brackets.", env="DSABENCH_METHOD")
    ] = "simclr",
    dataset: flags.Dataset = "digits",
    data_dir: flags.DataDir = None,
    data_name: flags.DataName = None,
    train_images: flags.TrainImages = None,
    image_size: flags.ImageSize = None,
    backbone: flags.Backbone = None,
    epochs: flags.Epochs = None,
    batch_size: flags.BatchSize = None,
    seed: Annotated[int, option(TRAINING, "Names every random draw.", env="DSABENCH_SEED", min=0)] = 0,
    settings: flags.Settings = None,
    augment: flags.Augment = "batched",
    device: flags.Device = "auto",
    precision: flags.Precision = "auto",
    threads: flags.Threads = 1,
    deterministic: flags.Deterministic = False,
    compile: flags.Compile = False,
    offline: flags.Offline = False,
    config: flags.Config = None,
    runs: flags.Runs = Path("runs"),
    overwrite: flags.Overwrite = "never",
    dry_run: flags.DryRun = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
    debug: flags.Debug = False,
) -> None:
    """Train one run, or go on with it: dsabench pretrain --method simclr+dsa --seed 3

    A finished run is left as it is, an interrupted one goes on from its last checkpoint.
    """
    always = overwriting(overwrite)
    limit(threads, offline)
    from dsabench.config.plan import Request, plan
    from dsabench.launch.work import train
    from dsabench.progress import Update
    from dsabench.signals import Stop

    request = Request(
        dataset, data_dir, data_name, train_images, image_size, backbone, epochs, batch_size, device, precision,
        threads, deterministic, offline, tuple(settings or ()), augment, compile,
    )  # fmt: skip
    stop = Stop().listen()
    (planned,) = plan(request, [method], [seed])
    if dry_run:
        print_plan([planned], runs, offline, as_json)
        return
    if verbose:
        print_configs([planned])
    with progress(1, quiet) as display:
        run, reused = train(planned, runs, overwrite=always, offline=offline, stop=stop, report=display)
        display(Update(planned.label, "reused" if reused else "finished", 1, 1))
    state = run.state
    summary = {
        "run_id": planned.run_id,
        "run_dir": str(run.folder),
        "checkpoint": str(run.checkpoint),
        "weights_sha256": state["weights_sha256"],
        "status": state["status"],
        "epochs": planned.epochs,
        "wall_s": state["wall_s"],
        "images_per_s": state["images_per_s"],
    }
    if as_json:
        print(json.dumps(summary))
        return
    word = "already finished" if reused else "finished"
    print(f"{planned.label} {word}: {run.folder}")
    print(f"evaluate it with: dsabench eval {planned.run_id}" + ("" if runs == Path("runs") else f" --runs {runs}"))
