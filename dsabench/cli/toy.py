"""`dsabench toy`: the picture that explains the tool."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dsabench.cli import flags
from dsabench.cli.flags import MACHINE, OUTPUT, TRAINING, WHAT, option
from dsabench.cli.groups import grouped
from dsabench.cli.output import limit, progress

if TYPE_CHECKING:
    from dsabench.data import Datasets
    from dsabench.report.toy_figure import Panel
    from dsabench.training.run import Run

# An adjuster leaves lengths out, half of what two dimensions say.
SPECS = ("supervised", "simclr", "simclr+dsa[adjust=off,weight=3]", "byol", "byol+dsa[adjust=off,weight=3]")
# The generated images are few: smaller batches make as many steps.
DATASETS = {"digits": 128, "synthetic": 64}


@grouped
def toy(
    dataset: Annotated[
        list[str] | None, option(WHAT, "Data set; repeatable.", "--dataset", show_default="digits and synthetic")
    ] = None,
    epochs: Annotated[int, option(TRAINING, "Epochs of each model.", min=1)] = 20,
    seed: Annotated[int, option(TRAINING, "Names every random draw.", min=0)] = 0,
    threads: Annotated[int, option(MACHINE, "CPU threads.", min=1)] = 1,
    runs: flags.Runs = Path("runs"),
    output: Annotated[Path, option(OUTPUT, "Folder for toy-DATASET.svg and .png.")] = Path("results"),
    quiet: Annotated[bool, option(OUTPUT, "No progress.", "--quiet", "-q")] = False,
    debug: flags.Debug = False,
) -> None:
    """Draw features of two dimensions, supervised and self-supervised, with and without DSA: dsabench toy

    The models are runs like any other, with a backbone of two features; what is in the store is not trained again.
    """
    from dsabench.config.request import Request
    from dsabench.config.spec import parse_spec
    from dsabench.data.data_config import DataConfig
    from dsabench.files import check_writable, write_atomic

    requests = [
        Request(
            specs=tuple(map(parse_spec, SPECS)),
            seeds=(seed,),
            data=DataConfig(name=name),
            backbone="resnet8d2",
            epochs=epochs,
            batch_size=DATASETS.get(name),
            device="cpu",
            threads=threads,
        )
        for name in dataset or DATASETS
    ]
    for request in requests:
        request.check()
        check_writable(output / f"toy-{request.data.name}.svg")
    limit(threads, False)
    from dsabench.config.plan import plan
    from dsabench.data import Datasets
    from dsabench.launch.work import Workshop, train
    from dsabench.progress import Update
    from dsabench.report.toy_figure import drawn, toy_figure
    from dsabench.signals import Stop
    from dsabench.training.inventory import last_saved
    from dsabench.training.run import say
    from dsabench.training.store import Store

    stop, datasets, store = Stop().listen(), Datasets(), Store(runs)
    for request in requests:
        loaded = datasets.load(request.data)
        planned = plan(request, loaded)
        panels = []
        with progress(len(planned), quiet, stop, partial(last_saved, runs, planned)) as display:
            for config in planned:
                run, reused = train(config, Workshop(store, datasets, stop, display))
                display(Update(config.label, "reused" if reused else "finished", 1, 1))
                panels.append(panel(run, datasets))
        title = f"{request.data.label}: {len(loaded.test)} test images, features of two dimensions, seed {seed}"
        figure = toy_figure(panels, loaded.classes, title)
        for kind in ("svg", "png"):
            path = output / f"toy-{request.data.name}.{kind}"
            write_atomic(path, drawn(figure, kind))
            say(f"wrote {path}")


def panel(run: Run, datasets: Datasets) -> Panel:
    """The features of a run's test images as they are drawn, and how crowded they are in the plane that is drawn."""
    from dsabench.config.eval_config import EvalConfig
    from dsabench.evaluation.encoder import run_encoder
    from dsabench.evaluation.evaluate import Evaluation
    from dsabench.metrics.bounds import centre_bound, geometry
    from dsabench.report.toy_figure import Panel

    (layer,) = Evaluation(run_encoder(run, datasets), EvalConfig(("knn5",)), datasets).layers()
    x, y = layer.inputs.test.x.double(), layer.inputs.test.y
    moments = geometry(x, y)
    cdnv = float(moments.off_diagonal(moments.variances[:, None] / moments.apart).mean())
    (right,) = layer.answers(layer.evaluation.parts[0]).predicted[0] == y.numpy()[None]
    numbers = (
        f"CDNV {cdnv:.2f}",
        f"nearest class mean {1 - centre_bound(x, y).risk:.0%}",
        f"5-NN {right.mean():.0%}",
    )
    return Panel(str(run.config.spec), x.numpy(), y.numpy(), numbers)
