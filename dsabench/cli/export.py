"""`dsabench export`: the backbone of a run as a file that others load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsabench.cli import flags
from dsabench.cli.flags import FILES, option
from dsabench.cli.groups import grouped
from dsabench.cli.output import limit


@grouped
def export(
    run: Annotated[str, typer.Argument(help="A finished run by id or folder.")],
    to: Annotated[Path, option(FILES, "FILE.safetensors, or a folder that timm opens as local-dir:FOLDER.", "--to")],
    offline: flags.Offline = False,
    runs: flags.Runs = Path("runs"),
    debug: flags.Debug = False,
) -> None:
    """Write a run's backbone with a model card: dsabench export 3f2a --to backbone.safetensors"""
    from dsabench.training.run import say
    from dsabench.training.store import Store

    found = Store(runs).find(run)
    limit(found.config.threads, offline)
    from dsabench.config.eval_config import EvalConfig
    from dsabench.data import Datasets
    from dsabench.evaluation.encoder import run_encoder
    from dsabench.evaluation.evaluate import evaluate
    from dsabench.evaluation.exporting import export as export_run
    from dsabench.signals import Stop

    datasets = Datasets(offline=offline)
    encoder = run_encoder(found, datasets)
    rows = evaluate(encoder, EvalConfig(("knn", "crowding")), datasets, stop=Stop().listen())
    files, code = export_run(found, encoder, rows, to)
    for path in files:
        say(f"wrote {path}")
    say(f"opened in Python by:\n{code}")
