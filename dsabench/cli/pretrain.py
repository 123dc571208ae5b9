"""`dsabench pretrain`: train one run, or go on with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

from dsabench.cli import completion
from dsabench.cli.flags import OUTPUT, TRAINING, WHAT, Common, Tensorboard, Training, option
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
    training: Training,
    common: Common,
    tensorboard: Tensorboard = False,
) -> None:
    """Train one run, or go on with it: dsabench pretrain --method simclr+dsa --seed 3

    A finished run is left as it is, an interrupted one goes on from its last checkpoint.
    """
    request = training.request([method], [seed])
    tracked = check_tracked(track) if track else ()
    overwrite = common.always
    if tensorboard:
        from dsabench.training.events import check_tensorboard

        check_tensorboard()
    limit(training.threads, training.offline)
    from dsabench.config.plan import plan
    from dsabench.data import Datasets
    from dsabench.evaluation.tracking import tracker
    from dsabench.launch.work import Workshop, train
    from dsabench.progress import Update
    from dsabench.signals import Stop
    from dsabench.training.store import Store

    stop, datasets, store = Stop().listen(), Datasets(offline=training.offline), Store(common.runs)
    dataset = datasets.load(request.data)
    (planned,) = plan(request, dataset)
    say_read(dataset, planned, store, common.quiet)
    warn([planned], len(dataset.train))
    if common.dry_run:
        print_plan([planned], store, datasets, 1, common.as_json)
        return
    if common.verbose:
        print_configs([planned])
    with progress(1, common.quiet, stop) as display:
        shop = Workshop(store, datasets, stop, display)
        run, reused = train(planned, shop, overwrite=overwrite, tensorboard=tensorboard, track=tracker(tracked, every))
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
