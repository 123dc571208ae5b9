"""`dsabench theory`: the bounds that tie crowding to risk, and which measure of crowding predicts accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsabench.cli import flags
from dsabench.cli.flags import FILES, MACHINE, OUTPUT, WHAT, option
from dsabench.cli.groups import grouped
from dsabench.cli.output import console, limit
from dsabench.errors import NothingToCompare, UsageError, unknown

if TYPE_CHECKING:
    from dsabench.tables.rows import Row
    from dsabench.training.run import Run


@grouped
def theory(
    run: Annotated[
        list[str] | None, typer.Argument(help="Runs by id or folder; all finished ones of the store if left out.")
    ] = None,
    correlations: Annotated[
        bool, option(WHAT, "Rank correlations of metrics with probes over runs, not bounds.", "--correlations")
    ] = False,
    table: Annotated[
        list[Path] | None, option(FILES, "With --correlations: rows of FILE.csv; repeatable.", show_default="the runs'")
    ] = None,
    split: Annotated[str, option(WHAT, "test or val.")] = "test",
    threads: Annotated[int, option(MACHINE, "CPU threads.", min=1)] = 1,
    offline: flags.Offline = False,
    runs: Annotated[Path, option(FILES, "The run store.", "--runs", "--from", env="DSABENCH_RUNS")] = Path("runs"),
    output: Annotated[Path | None, option(OUTPUT, "Write the values to FILE.csv.")] = None,
    debug: flags.Debug = False,
) -> None:
    """The terms of bounds on risk, on held-out images of runs: dsabench theory 3fa0

    With --correlations: does crowding predict accuracy, and which measure of it best?
    """
    from dsabench.config.eval_config import SPLITS
    from dsabench.files import check_writable, write_atomic
    from dsabench.tables.rows import csv_text, read_csv
    from dsabench.training.run import say
    from dsabench.training.store import Store

    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if table and not correlations:
        raise UsageError("--table holds values of probes, which bounds are not made of; add --correlations")
    if output:
        check_writable(output)
    limit(threads, offline)
    from dsabench.report.terminal import draw
    from dsabench.report.theory_tables import (
        bound_records,
        bound_tables,
        ranking_records,
        ranking_tables,
        rankings,
    )

    found: list[Run] = []
    if not table:
        store = Store(runs)
        found = [store.find(text) for text in run or []]
        found = found or [one for one in store.runs() if one.state["status"] == "finished"]
        if not found:
            raise NothingToCompare(f"no finished run in {runs}; train one with: dsabench pretrain --runs {runs}")
    if correlations:
        rows = [row for path in table or () for row in read_csv(path)] or measured(found, split, offline)
        ranked = rankings(rows)
        if not ranked:
            raise NothingToCompare("correlations need two runs with a metric and an accuracy of the same images")
        tables, (header, records) = ranking_tables(ranked), ranking_records(ranked)
    else:
        from dsabench.data import Datasets
        from dsabench.evaluation.theory import findings

        datasets = Datasets(offline=offline)
        bounds = [finding for one in found for finding in findings(one, datasets, split=split)]
        tables, (header, records) = bound_tables(bounds), bound_records(bounds)
    if output:
        write_atomic(output, csv_text(header, records))
        say(f"wrote {output}")
    for one_table in tables:
        draw(console(), one_table)


def measured(found: list[Run], split: str, offline: bool) -> list[Row]:
    """The rows of all core probes and all metrics of runs, from their stored features where they are."""
    from dsabench.config.eval_config import EvalConfig
    from dsabench.data import Datasets
    from dsabench.evaluation.encoder import run_encoder
    from dsabench.evaluation.evaluate import evaluate
    from dsabench.evaluation.words import CORE
    from dsabench.metrics import METRICS
    from dsabench.signals import Stop

    stop, datasets = Stop().listen(), Datasets(offline=offline)
    metrics = (name for name, entry in METRICS.items() if entry.tier == "extra" and entry.needs == ("test",))
    what = EvalConfig((*CORE, *metrics), split=split)
    return [row for one in found for row in evaluate(run_encoder(one, datasets), what, datasets, stop=stop)]
