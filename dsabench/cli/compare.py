"""`dsabench compare`: train what is missing, evaluate, and compare over paired seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsabench.cli import completion
from dsabench.cli.existing import Choosing, compare_existing
from dsabench.cli.flags import (
    FILES,
    OUTPUT,
    TRAINING,
    WHAT,
    Common,
    Deciding,
    Measuring,
    Tensorboard,
    Training,
    option,
)
from dsabench.cli.groups import grouped
from dsabench.cli.launching import Launching, print_script
from dsabench.cli.output import (
    console,
    limit,
    print_configs,
    print_plan,
    progress,
    say_added,
    say_read,
    table_name,
    warn,
)
from dsabench.cli.source_flags import Sources
from dsabench.errors import NothingToCompare, UsageError

if TYPE_CHECKING:
    from dsabench.config.spec import Spec


@grouped
def compare(
    context: typer.Context,
    choosing: Choosing,
    models: Sources,
    training: Training,
    measuring: Measuring,
    deciding: Deciding,
    launching: Launching,
    common: Common,
    specs: Annotated[
        list[str] | None,
        typer.Argument(
            help="METHOD or METHOD+REGULARIZER, the baseline first. With --from: arms, all if left out.",
            autocompletion=completion.specs,
        ),
    ] = None,
    seeds: Annotated[
        str, option(TRAINING, "Paired seeds by number: a list, or a range as 0-5, which is six.", env="DSABENCH_SEEDS")
    ] = "0-5",
    tuning: Annotated[
        str,
        option(
            WHAT,
            "How the arms' options were chosen, for every row; what tune writes says it.",
            metavar="TEXT",
            show_default="defaults, or by hand",
        ),
    ] = "",
    output: Annotated[
        str | None,
        option(
            FILES,
            "NAME.csv and NAME-summary.csv are written, of several data sets NAME-DATASET-summary.csv each.",
            metavar="NAME",
            show_default="results/SPEC-vs-SPEC",
        ),
    ] = None,
    pairs: Annotated[
        bool, option(OUTPUT, "The paired table of every pair, also of three specs or more.", "--pairs")
    ] = False,
    tensorboard: Tensorboard = False,
) -> None:
    """Train what is missing, evaluate, and compare: dsabench compare simclr simclr+dsa"""
    specs = specs or []
    check_no_tables(specs)
    if choosing.stores or any(vars(models).values()):
        compare_existing(context, specs, choosing, models, training, measuring, deciding, common, output, pairs)
        return
    if choosing.where or choosing.mix:
        raise UsageError("--where and --mix are for runs that exist: dsabench compare --from runs --where epochs=60")
    if len(specs) < 2:
        raise UsageError(
            "compare needs at least two specs, the baseline first, as in: dsabench compare simclr simclr+dsa"
        )
    from dsabench.config.spec import brief_names, one_seed, parse_seeds

    request = training.request(specs, parse_seeds(seeds))
    criteria = deciding.criteria()
    asked_for = measuring.config(leading=criteria.layer)
    what = asked_for.also(*criteria.probes)
    overwrite = common.always
    if overwrite and choosing.no_train:
        raise UsageError("--overwrite always trains finished runs again, and --no-train trains nothing; leave one out")
    launching.check(overwrite=overwrite)
    request = launching.placed(request)
    if tensorboard:
        from dsabench.training.events import check_tensorboard

        check_tensorboard()
    limit(training.threads, training.offline)
    from dsabench.config.cautions import adjusted_beside_others
    from dsabench.config.plan import beside_defaults, plan
    from dsabench.data import Datasets
    from dsabench.evaluation.images import Pairs, finished_encoders
    from dsabench.evaluation.words import asked
    from dsabench.files import check_writable
    from dsabench.launch.jobs import default_jobs, run_all
    from dsabench.launch.submission import run_on, to_submit
    from dsabench.launch.work import Job, Workshop, validate
    from dsabench.report import (
        comparisons_called,
        declared,
        finding,
        per_image,
        print_chart,
        print_comparisons,
        print_legend,
        print_overview,
        print_words,
        reach,
        rows_called,
        write_summary,
    )
    from dsabench.signals import Stop
    from dsabench.tables.comparisons import compare_rows, cost_ratios, pairs_of
    from dsabench.tables.declaration import declaration_of, declare, deviations, held_by
    from dsabench.tables.replacing import Contents, check_replaceable
    from dsabench.tables.rows import check_unique, write_csv
    from dsabench.training.history import read_curves
    from dsabench.training.inventory import last_saved
    from dsabench.training.run import say
    from dsabench.training.store import Store

    stop, datasets, store = Stop().listen(), Datasets(offline=training.offline), Store(common.runs)
    dataset = datasets.load(request.data)
    planned = plan(request, dataset)
    say_read(dataset, planned[0], store, common.quiet)
    if words := one_seed(seeds):
        say(f"--seeds {seeds}: {words}")
    warn(planned, dataset, launching.count)
    cluster = launching.cluster(common.runs, training) if launching.on_slurm else None
    say_added(asked_for, what)
    arms = list(dict.fromkeys(str(one.spec) for one in planned))
    names = {arm: arm for arm in arms} if common.as_json else brief_names(arms)
    finished = {one.run_id for one in planned if store.run(one).state["status"] == "finished"}
    present = [arm for arm in arms if any(str(one.spec) == arm and one.run_id in finished for one in planned)]
    absent = [arm for arm in arms if choosing.no_train and arm not in present]
    if not common.quiet:
        there_are = [pair for pair in pairs_of([one.spec for one in planned[: len(arms)]]) if not {*pair} & {*absent}]
        for line in reach([(names[arm], names[against]) for arm, against in there_are], len(request.seeds)):
            say(line)
        if line := adjusted_beside_others(planned, what.layers):
            say(line)
    declaration = declaration_of(planned, request.seeds, criteria, what)
    work = [Job(one, what, overwrite, tuning or chosen_how(one.spec), tensorboard) for one in planned]
    if common.dry_run and cluster is not None:
        print_script(cluster, to_submit(cluster, work, store), common.as_json)
        return
    if common.dry_run:
        side_by_side = launching.count or default_jobs(training.threads, planned[0].device)
        print_plan(planned, store, datasets, side_by_side, common.as_json)
        held = held_by(common.runs, declaration)
        departures = [] if held is None else deviations(held, declaration, len(finished))
        if departures and not common.as_json:
            print_words(console(), declared(departures))
        return
    title = planned[0].data.label
    name = output or table_name(title, present if absent and present else arms, beside_defaults(request, dataset))
    table, summary = Path(f"{name}.csv"), Path(f"{name}-summary.csv")
    for path in (table, summary):
        check_writable(path)
    if common.overwrite == "never":
        check_replaceable(table, Contents.planned(planned, asked(what.probes), what.layers, what.split))
    if common.verbose:
        print_configs(planned)
    with progress(len(planned), common.quiet, stop, partial(last_saved, common.runs, planned)) as display:
        shop = Workshop(store, datasets, stop, display)
        for one in planned[: len(arms)]:
            validate(one, shop, elsewhere=request.elsewhere)
        _, departures = declare(common.runs, declaration, runs_seen=len(finished))
        to_do = [one for one in planned if one.run_id in finished] if choosing.no_train else planned
        work = [job for job in work if job.config in to_do]
        if cluster is not None:
            rows = run_on(cluster, work, shop)
        else:
            rows = run_all(work, launching.side_by_side(planned, store, training), shop)
    for one in planned:
        if one not in to_do:
            say(f"not there, and --no-train: {one.label}")
    if not rows:
        raise NothingToCompare(f"none of these runs is finished in {common.runs}; without --no-train they are trained")
    check_unique(rows)
    write_csv(rows, table)
    failed, written = [row for row in rows if row.status == "failed"], [table]
    try:
        layer = str(what.layers[0])
        images = Pairs(finished_encoders(planned, store, datasets), what, datasets)
        comparisons = images.with_images(compare_rows(rows, arms, criteria, layer, seeds=request.seeds))
        write_summary(comparisons, summary, extra={"dataset": title, "split": what.split}, rows=rows)
        written.append(summary)
        fresh = {row.run_id for row in rows if row.status != "failed"} - (set() if overwrite else finished)
        shown, shown_rows = comparisons_called(comparisons, names), rows_called(rows, names)
        sentence = finding(shown, cost_ratio=cost_ratios(shown_rows, shown, fresh))
        if common.as_json:
            print(json.dumps({"finding": sentence, "rows": str(table), "summary": str(summary)}))
        else:
            out = console()
            print_overview(out, shown_rows, layer=layer)
            logs: dict[str, list[dict[str, list[float]]]] = {}
            for one in planned:
                logs.setdefault(names[str(one.spec)], []).append(read_curves(store.run(one).folder))
            print_chart(out, shown, shown_rows, logs)
            if pairs or len(arms) == 2:
                # Of more arms the sentences below say what carries a verdict; the summary has the rest.
                print_comparisons(out, shown)
            print_legend(out, names)
            by_pair = images.mcnemar(comparisons).items()
            if by_image := per_image({(names[arm], names[against]): p for (arm, against), p in by_pair}):
                print_words(out, by_image + "\n")
            print_words(out, sentence)
            if absent:
                print_words(out, "\n" + "\n".join(f"{names[arm]}: none of its runs is there" for arm in absent))
            if departures:
                print_words(out, "\n" + declared(departures))
    finally:
        # Also where there is nothing to compare: why is told, and the rows are kept.
        for row in failed:
            say(f"{row.spec} s{row.seed} failed: {row.note.removeprefix(f'{row.spec} s{row.seed}: ')}")
        say(f"wrote {' and '.join(map(str, written))}")
    if failed:
        say(f"{len(failed)} of {len(work)} runs failed")
        raise typer.Exit(1)


def check_no_tables(specs: Sequence[str]) -> None:
    """Raise UsageError for a table among the specs."""
    for text in specs:
        if text.endswith(".csv"):
            raise UsageError(f"{text} is a table, and no arm; to compare what it holds: --from {text}")


def chosen_how(spec: Spec) -> str:
    """How the options of a spec were chosen, as far as that can be read off it."""
    return "by hand" if spec.method.options or spec.regularizer.options else "defaults"
