"""`dsabench compare` of what exists: runs of stores, tables, models and embeddings. It trains nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from dsabench.cli import flags
from dsabench.cli.flags import SOURCES, Common, Deciding, Measuring, Training, option
from dsabench.cli.output import console, limit, say_added, table_name
from dsabench.cli.source_flags import Sources
from dsabench.errors import UsageError, unknown

if TYPE_CHECKING:
    from dsabench.config.eval_config import EvalConfig
    from dsabench.data import Datasets
    from dsabench.launch.existing import Existing
    from dsabench.tables.criteria import Criteria
    from dsabench.tables.rows import Row

# Flags that say how runs are trained: of runs that exist that is known, and `--where` selects by it.
TRAINS = (
    *("seeds", "epochs", "batch_size", "settings", "augment", "deterministic", "compile"),
    *("tuning", "jobs", "launcher", "slurm", "dry_run", "tensorboard"),
)


@dataclass(frozen=True)
class Choosing:
    """What exists and is to be compared, instead of specs to train."""

    stores: Annotated[
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
    context: typer.Context,
    names: Sequence[str],
    choosing: Choosing,
    models: Sources,
    training: Training,
    measuring: Measuring,
    deciding: Deciding,
    common: Common,
    output: str | None,
    every_pair: bool,
) -> None:
    """Compare the arms that exist, those of `names` (the baseline first), or all."""
    refuse_training(context)
    from dsabench.config.spec import brief_names
    from dsabench.tables.collecting import MIXED, collected, with_one_name
    from dsabench.tables.comparisons import without_seeds
    from dsabench.tables.grouping import check_shared, grouped_by_dataset, meant, named, picked, same_images, unequal
    from dsabench.tables.where import parse_where

    for column in choosing.mix or ():
        if column not in MIXED:
            raise unknown("column of --mix", column, MIXED)
    allowed = parse_where(choosing.where or ())
    given = models.parsed((training.backbone,) if training.backbone else ())
    check_names(names, choosing.stores or (), [one.name for one in given], common.runs)
    data = training.data() if said(context, "dataset") != "DEFAULT" else None
    criteria = deciding.criteria()
    asked_for = measuring.config(criteria.layer, data=data, modules=bool(given))
    what = asked_for.also(*criteria.probes)
    limit(training.threads, training.offline)
    from dsabench.data import Datasets
    from dsabench.files import check_writable, slug
    from dsabench.launch.existing import chosen, gather, specs_in, table_arms
    from dsabench.signals import Stop
    from dsabench.tables.replacing import Contents, check_replaceable
    from dsabench.tables.rows import write_csv
    from dsabench.training.run import say

    stop, datasets = Stop().listen(), Datasets(offline=training.offline)
    if names:
        stands = meant(names, specs_in(choosing.stores or (), allowed), [one.name for one in given])
        for name, spec in stands.items():
            if name != spec:
                say(f"{name}: {spec} is the only one there is, and is taken")
        names = list(stands.values())
    mixed = choosing.mix or ()
    found = gather(
        choosing.stores or (),
        chosen(allowed, names),
        what,
        datasets,
        stop,
        training.data_dir,
        embeddings=[one.name for one in given if one.kind == "features" and "dataset_sha256" not in mixed],
    )
    found.add_models(given, what, datasets, stop, common.runs)
    # A model of one's own has the preprocessing that is its own, which stands in its rows.
    sources, became = with_one_name(found.rows)
    of_no_run = without_seeds(row for own in sources.values() for row in own)
    rows = collected(sources, [*mixed, *(["preprocess"] if of_no_run else [])])
    arms = picked(named(rows), names)
    by_dataset = grouped_by_dataset(arms)
    # With a data set named they are of its images.
    outside = [one.name for one in given] if data is None else []
    check_shared(by_dataset, outside)
    name = output or table_name("-".join(by_dataset), list(arms))
    table = Path(f"{name}.csv")
    check_writable(table)
    kept = {row.run_id for own in arms.values() for row in own}
    kept_rows = [row for row in rows if row.run_id in kept]
    if common.overwrite == "never":
        check_replaceable(table, Contents.of(kept_rows))
    write_csv(kept_rows, table)
    if found.encoders_of(arms):
        say_added(asked_for, what)
    say("nothing is trained; what decides was not declared before these runs were there")
    for old, new in became.items():
        say(f"{old} and {new} are the same images: called {new} here")
    shared = {title: own for title, own in by_dataset.items() if len(own) > 1}
    names_shown = {} if common.as_json else brief_names(arms)
    for line in unequal(shared):
        say(f"not held equal: {line}")
    for title, own in shared.items():
        for line in found.other_images(title, {names_shown.get(arm, arm): of_it for arm, of_it in own.items()}):
            say(line)
    alone = choosing.stores[0] if names and choosing.stores and len(choosing.stores) == 1 and not given else None
    whole = table_arms(alone, allowed, what) if alone is not None and alone.suffix == ".csv" else {}
    written, findings = [table], []
    for title, own in by_dataset.items():
        if len(own) > 1:
            summary = Path(f"{name}-summary.csv" if len(by_dataset) == 1 else f"{name}-{slug(title)}-summary.csv")
            legend = names_shown if len(shared) == 1 else {}
            beside = Beside(str(alone), whole.get(title, {}), names_shown, legend)
            findings.append(
                compare_on(title, own, found, what, criteria, datasets, summary, common.as_json, every_pair, beside)
            )
            written.append(summary)
        else:
            hint = same_images(by_dataset, outside) if set(own) <= set(outside) else ""
            say(f"on {title} there is {next(iter(own))} alone: nothing to compare it with{hint}")
    if len(shared) > 1 and not common.as_json:
        from dsabench.report import print_datasets, print_legend

        there = {names_shown[arm]: [row for row in own if row.dataset in shared] for arm, own in arms.items()}
        print_datasets(console(), {arm: own for arm, own in there.items() if own}, criteria, str(what.layers[0]))
        print_legend(console(), names_shown)
    if common.as_json:
        summaries = [str(path) for path in written[1:]]
        print(json.dumps({"finding": "\n".join(findings), "rows": str(table), "summary": summaries}))
    say(f"wrote {' and '.join(map(str, written))}")


class Beside(NamedTuple):
    """What is said beside the arms that are compared: all arms of the `table` that they were picked from, if they were,
    what arms are called, and of which names it is said here what they stand for."""

    table: str
    arms: Mapping[str, list[Row]]
    names: Mapping[str, str]
    legend: Mapping[str, str]


def compare_on(
    title: str,
    arms: Mapping[str, list[Row]],
    found: Existing,
    what: EvalConfig,
    criteria: Criteria,
    datasets: Datasets,
    summary: Path,
    as_json: bool,
    every_pair: bool,
    beside: Beside,
) -> str:
    """Compare the arms on one data set, print it unless it will be JSON, and return what was found in words."""
    from dsabench.evaluation.images import Pairs
    from dsabench.evaluation.single import Models
    from dsabench.report import (
        comparisons_called,
        finding,
        model_findings,
        narrowed,
        one_model_each,
        print_comparisons,
        print_legend,
        print_models,
        print_overview,
        print_words,
        rows_called,
        write_model_summary,
        write_summary,
    )
    from dsabench.tables.comparisons import compare_rows, without_seeds
    from dsabench.tables.grouping import are_single, pairs_of_arms

    layer, rows, pairs = str(what.layers[0]), [row for own in arms.values() for row in own], pairs_of_arms(arms)
    images = Pairs(found.encoders_of(arms), what, datasets)
    extra = {"dataset": title, "split": what.split}
    out = console()
    if not as_json:
        print_overview(out, rows_called(rows, beside.names), layer=layer)
    if are_single(arms):
        evaluated = {arm: layer for (arm, _), layer in images.finished.items()}
        models = Models(evaluated, images.parts).compared(arms, pairs, criteria, layer)
        write_model_summary(models, summary, extra=extra)
        models = comparisons_called(models, beside.names)
        words = model_findings(models)
        if not as_json:
            print_models(out, models)
    else:
        found_here = compare_rows(rows, list(arms), criteria, layer, pairs=pairs)
        comparisons = images.with_images(found_here)
        write_summary(comparisons, summary, extra=extra, rows=rows)
        shown = comparisons_called(comparisons, beside.names)
        lines = [finding(shown), one_model_each([beside.names.get(arm, arm) for arm in without_seeds(rows)])]
        if beside.arms.keys() > arms.keys():
            # The baseline first: pairs are formed against it.
            every = {**arms, **beside.arms}
            all_rows = [row for own in every.values() for row in own]
            all_of_it = compare_rows(all_rows, list(every), criteria, layer, pairs=pairs_of_arms(every))
            lines += narrowed(comparisons, all_of_it, f"{len(arms)} of {len(every)} arms of {beside.table}")
        words = "\n".join(filter(None, lines))
        if not as_json and (every_pair or len(arms) == 2):
            print_comparisons(out, shown)
    if not as_json:
        print_legend(out, beside.legend)
        print_words(out, words + "\n")
    return words


def check_names(names: Sequence[str], stores: Sequence[Path], models: Sequence[str], runs: Path) -> None:
    """Raise UsageError for the name of a run where there are models alone, before these are evaluated."""
    from dsabench.methods import METHODS

    for name in names if models and not stores else ():
        if name.partition("+")[0].partition("[")[0] in METHODS and name not in models:
            raise UsageError(
                f"no arm {name!r} among the models: {', '.join(models)}; for the runs of that name add: --from {runs}"
            )


def refuse_training(context: typer.Context) -> None:
    """Raise UsageError for a flag on the command line that says how to train."""
    for name in TRAINS:
        if said(context, name) == "COMMANDLINE":
            flag = {"settings": "set"}.get(name, name.replace("_", "-"))
            raise UsageError(f"--{flag} is for what is trained, and what exists is compared; select runs with --where")


def said(context: typer.Context, name: str) -> str:
    """Where the value of a flag comes from: COMMANDLINE, ENVIRONMENT, DEFAULT_MAP (a file) or DEFAULT."""
    source = context.get_parameter_source(name)
    return source.name if source is not None else "DEFAULT"
