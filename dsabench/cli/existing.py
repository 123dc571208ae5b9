"""`dsabench compare` of what exists: runs of stores, tables, models and embeddings. It trains nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from click.core import ParameterSource

from dsabench.cli import flags
from dsabench.cli.flags import SOURCES, Common, Deciding, Measuring, Sources, Training, option
from dsabench.cli.output import console, limit
from dsabench.errors import NothingToCompare, UsageError, unknown

if TYPE_CHECKING:
    from dsabench.config.eval_config import EvalConfig
    from dsabench.data.data_config import DataConfig
    from dsabench.evaluation.encoder import Encoder
    from dsabench.tables.criteria import Criteria
    from dsabench.tables.rows import Row

# Flags that say how runs are trained: of runs that exist that is known, and `--where` selects by it.
TRAINS = ("seeds", "epochs", "batch_size", "settings", "augment", "deterministic", "compile", "tuning", "jobs", "dry_run")


@dataclass(frozen=True)
class Choosing:
    """What exists and is to be compared, instead of specs to train."""

    sources: Annotated[
        list[Path] | None,
        option(SOURCES, "Compare the runs of a store, or a table FILE.csv; trains nothing; repeatable.", "--from"),
    ] = None
    where: flags.Where = None
    mix: Annotated[
        list[str] | None,
        option(
            SOURCES,
            "A column in which what is compared may differ: dataset_sha256, probe_version, preprocess, schema_version.",
            "--mix",
            metavar="COLUMN",
        ),
    ] = None
    no_train: Annotated[bool, option(flags.TRAINING, "Compare the runs that are there.", "--no-train")] = False


def compare_existing(
    names: Sequence[str],
    choosing: Choosing,
    sources: Sources,
    training: Training,
    measuring: Measuring,
    deciding: Deciding,
    common: Common,
    output: str | None,
) -> None:
    """Compare the arms that exist, those of `names` (the baseline first), or all."""
    refuse_training()
    from dsabench.tables.arms import MIXED, collected, grouped_by_dataset, named, pairs_of_arms, unequal
    from dsabench.tables.where import parse_where

    for column in choosing.mix or ():
        if column not in MIXED:
            raise unknown("column of --mix", column, MIXED)
    allowed = parse_where(choosing.where or ())
    given = sources.parsed((training.backbone,) if training.backbone else ())
    other = named_data(training) if given or was_given("dataset") else None
    criteria = deciding.criteria()
    what = measuring.config(data=other, modules=bool(given)).also(*criteria.probes)
    limit(training.threads, training.offline)
    from dsabench.data import Datasets
    from dsabench.evaluation.encoders import source_encoders
    from dsabench.evaluation.evaluate import evaluate
    from dsabench.files import check_writable, slug
    from dsabench.launch.existing import chosen, gather
    from dsabench.signals import Stop
    from dsabench.tables.rows import write_csv
    from dsabench.training.run import say

    stop, datasets = Stop().listen(), Datasets(offline=training.offline)
    moved = training.data_dir if other is None else None
    found = gather(choosing.sources or (), chosen(allowed, names), what, datasets, stop, moved)
    for encoder in source_encoders(given, datasets, data=other, store=common.runs):
        found.rows[f"{encoder.name} "] = evaluate(encoder, what, datasets, stop=stop)
        found.encoders[str(encoder.provenance["run_id"])] = encoder
    # Each model has the preprocessing that is its own, which stands in its rows.
    rows = collected(found.rows, [*(choosing.mix or ()), *(["preprocess"] if given else [])])
    arms = picked(named(rows), names)
    datasets_of = grouped_by_dataset([row for own in arms.values() for row in own])
    name = output or str(Path("results") / slug(f"{'-'.join(datasets_of)}-{'-vs-'.join(arms)}"))
    table = Path(f"{name}.csv")
    check_writable(table)
    kept = {row.run_id for own in arms.values() for row in own}
    write_csv([row for row in rows if row.run_id in kept], table)
    say("nothing was trained, and nothing declared before the runs were there")
    for line in unequal(arms):
        say(f"not held equal: {line}")
    written = [table]
    findings = []
    for title, own in datasets_of.items():
        by_arm = {arm: [row for row in mine if row.dataset == title] for arm, mine in arms.items()}
        by_arm = {arm: mine for arm, mine in by_arm.items() if mine}
        if len(by_arm) > 1:
            place = Path(f"{name}-summary.csv") if len(datasets_of) == 1 else Path(f"{name}-{slug(title)}-summary.csv")
            findings.append(
                compare_on(title, by_arm, pairs_of_arms(by_arm), found.encoders, what, criteria, datasets, place, common)
            )
            written.append(place)
    if len(datasets_of) > 1:
        print_datasets(arms, criteria, str(what.layers[0]), common.as_json)
    if common.as_json:
        print(json.dumps({"finding": "\n".join(findings), "rows": str(table), "summary": [str(p) for p in written[1:]]}))
    say(f"wrote {' and '.join(map(str, written))}")


def was_given(name: str) -> bool:
    """Whether a flag was given on the command line."""
    return typer_context().get_parameter_source(name) == ParameterSource.COMMANDLINE
