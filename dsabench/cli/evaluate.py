"""`dsabench eval`: probe the frozen features of finished runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dsabench.cli import flags
from dsabench.cli.flags import OUTPUT, WHAT, option
from dsabench.cli.output import console, evaluation, limit


def evaluate(
    run: Annotated[
        list[str] | None, typer.Argument(help="Runs by id or folder; the newest finished one if left out.")
    ] = None,
    probe: flags.Probes = None,
    split: Annotated[str, option(WHAT, "test or val.")] = "test",
    layer: Annotated[
        list[str] | None, option(WHAT, "backbone, projector or pixels; repeatable.", show_default="backbone")
    ] = None,
    data_dir: flags.DataDir = None,
    offline: flags.Offline = False,
    runs: flags.Runs = Path("runs"),
    output: Annotated[Path | None, option(OUTPUT, "Write the rows to FILE.csv.")] = None,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Probe frozen features of finished runs: dsabench eval --probe knn --probe linear"""
    from dsabench.training.run import Run, find_run, newest_finished, say

    found: list[Run] = [find_run(runs, text) for text in run or []]
    if not found:
        found = [newest_finished(runs)]
        say(f"evaluating the newest finished run: {found[0].config.label}, {found[0].folder}")
    limit(found[0].config.threads, offline)
    from dsabench.evaluation.evaluate import evaluate as evaluate_run
    from dsabench.files import check_writable
    from dsabench.report import print_values
    from dsabench.signals import Stop
    from dsabench.tables.rows import check_unique, write_csv

    if output:
        check_writable(output)
    what = evaluation(probe, layer, split)
    stop = Stop().listen()
    rows = [row for one in found for row in evaluate_run(one, what, data_dir=data_dir, offline=offline, stop=stop)]
    check_unique(rows)
    if output:
        write_csv(rows, output)
        say(f"wrote {output}")
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print_values(console(), rows)
