"""`dsabench pretrain`: train one run, or go on with it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

from dsabench.cli import completion
from dsabench.cli.flags import MACHINE, OUTPUT, TRAINING, WHAT, Common, Tensorboard, Training, option
from dsabench.cli.groups import grouped
from dsabench.cli.output import limit, print_configs, print_plan, progress, say_read, warn


@grouped
def pretrain(
    *,
    method: Annotated[
        str,
        option(
            WHAT,
            "METHOD or METHOD+REGULARIZER, options in brackets.",
            env="DSABENCH_METHOD",
            autocompletion=completion.specs,
        ),
    ] = "simclr",
    seed: Annotated[int, option(TRAINING, "Names every random draw.", env="DSABENCH_SEED", min=0)] = 0,
    track: Annotated[
        str | None,
        option(OUTPUT, "Measure on the validation split while training: cdnv,knn.", show_default="nothing"),
    ] = None,
    every: Annotated[int, option(OUTPUT, "Measure so often, in epochs, and after the last.", min=1)] = 5,
    devices: Annotated[
        int | None,
        option(
            MACHINE,
            "Devices of this machine that train the run together, a process each.",
            env="DSABENCH_DEVICES",
            show_default="1, or what torchrun or srun started",
            min=1,
        ),
    ] = None,
    nodes: Annotated[int, option(MACHINE, "Machines that do, each with as many.", env="DSABENCH_NODES", min=1)] = 1,
    strategy: Annotated[
        str, option(MACHINE, "auto, or ddp: every process has all weights.", env="DSABENCH_STRATEGY")
    ] = "auto",
    training: Training,
    common: Common,
    tensorboard: Tensorboard = False,
) -> None:
    """Train one run, or go on with it: dsabench pretrain --method simclr+dsa --seed 3

    A finished run is left as it is, an interrupted one goes on from its last checkpoint.
    """
    from dsabench.launch.processes import check_devices, joined, place

    here = place(devices, nodes, strategy)
    if not here.speaks:
        common = replace(common, quiet=True, verbose=False)
    request = training.request([method], [seed])
    tracked = check_tracked(track) if track else ()
    overwrite = common.always
    if tensorboard:
        from dsabench.training.events import check_tensorboard

        check_tensorboard()
    limit(training.threads, training.offline)
    from dsabench.config.plan import plan
    from dsabench.data import Datasets
    from dsabench.data.loader import check_shares
    from dsabench.evaluation.tracking import tracker
    from dsabench.launch.work import Workshop, train
    from dsabench.progress import Update
    from dsabench.signals import Stop
    from dsabench.training.inventory import last_saved
    from dsabench.training.store import Store

    stop, datasets, store = Stop().listen(), Datasets(offline=training.offline), Store(common.runs)
    dataset = datasets.load(request.data)
    (planned,) = plan(request, dataset)
    say_read(dataset, planned, store, common.quiet)
    if here.speaks:
        warn([planned], dataset)
    check_devices(devices, planned.device)
    check_shares(min(planned.batch_size, len(dataset.train)), here.world_size, most=len(dataset.train))
    if common.dry_run:
        print_plan([planned], store, datasets, 1, common.as_json)
        return
    if common.verbose:
        print_configs([planned])
    shown = progress(1, common.quiet, stop, partial(last_saved, common.runs, [planned]))
    with joined(here, devices, nodes), shown as display:
        shop = Workshop(store, datasets, stop, display)
        run, reused = train(planned, shop, overwrite=overwrite, tensorboard=tensorboard, track=tracker(tracked, every))
        display(Update(planned.label, "reused" if reused else "finished", 1, 1))
    if not here.speaks:
        return
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
    if common.as_json:
        print(json.dumps(summary))
        return
    word = "already finished" if reused else "finished"
    print(f"{planned.label} {word}: {run.folder}")
    where = "" if common.runs == Path("runs") else f" --runs {common.runs}"
    if (run.folder / "log.csv").exists():
        print(f"its curves: {run.folder / 'log.csv'}")
    print(f"evaluate it with: dsabench eval {planned.run_id}{where}")


def check_tracked(text: str) -> tuple[str, ...]:
    """The probes and metrics of `cdnv,knn[k=5,temperature=0.1]`; raises UsageError for one that does not exist."""
    from dsabench.evaluation.words import asked

    # A comma inside brackets parts options.
    words = tuple(filter(None, map(str.strip, re.split(r",(?![^\[]*\])", text))))
    asked(words)
    return words
