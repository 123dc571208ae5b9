"""`dsabench tune`: search every arm on the validation split with the same budget."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from dsabench.cli import flags
from dsabench.cli.flags import FILES, MACHINE, TRAINING, WHAT, Common, Training, option
from dsabench.cli.groups import grouped
from dsabench.cli.output import console, limit, print_configs, progress, say_read, table_name, warn
from dsabench.errors import RunFailed, UsageError

SELECT = ("knn", "fewshot[classifier=centroid,shots=5]")


@grouped
def tune(
    specs: flags.Specs,
    training: Training,
    common: Common,
    trials: Annotated[int, option(TRAINING, "Trials of each arm, the defaults among them.", min=1)] = 16,
    seeds: Annotated[
        str, option(TRAINING, "Seeds of every trial by number: a list, or a range as 0-5, which is six.")
    ] = "10,11",
    compare_seeds: Annotated[str, option(TRAINING, "Seeds of the comparison to come, which are kept apart.")] = "0-9",
    select: Annotated[
        list[str] | None,
        option(
            WHAT,
            "An accuracy on validation; the mean of these is maximised; repeatable.",
            show_default="knn, and fewshot of 5 labels a class",
        ),
    ] = None,
    space: Annotated[
        Path | None,
        option(WHAT, "A TOML file of spaces in place of those of: dsabench list spaces.", show_default=False),
    ] = None,
    jobs: Annotated[
        int | None,
        option(MACHINE, "Runs side by side; changes no number.", show_default="cores / threads", min=1),
    ] = None,
    output: Annotated[
        str | None,
        option(
            FILES,
            "NAME.toml for compare --config, NAME-trials.csv and NAME-budget.csv are written.",
            metavar="NAME",
            show_default="under results/",
        ),
    ] = None,
) -> None:
    """Search every arm with the same budget: dsabench tune simclr simclr+dsa --trials 16

    A trial sets options of both halves of a spec; what a spec says itself, or --set, is fixed. A trial that fails
    counts. A search that was stopped goes on with the same command.
    """
    from dsabench.config.spaces import read_spaces
    from dsabench.config.spec import one_seed, parse_seeds

    own, others = parse_seeds(seeds), parse_seeds(compare_seeds)
    if both := sorted(set(own) & set(others)):
        raise UsageError(
            f"seed {both[0]} is both among --seeds {seeds} and --compare-seeds {compare_seeds}; what is chosen on a "
            "seed cannot be confirmed on it, so give seeds that the comparison does not use"
        )
    request = training.request(specs, own)
    overrides = read_spaces(space) if space else {}
    overwrite = common.always
    limit(training.threads, training.offline)
    from dsabench.config.plan import beside_defaults, configure, plan
    from dsabench.data import Datasets
    from dsabench.files import check_writable, to_toml, write_atomic
    from dsabench.launch.jobs import default_jobs
    from dsabench.launch.tune import Budget, comparison_flags, make_arm, selected
    from dsabench.launch.tune import tune as search
    from dsabench.launch.work import Workshop
    from dsabench.progress import duration
    from dsabench.signals import Stop
    from dsabench.tables.trials import summary, write_budget, write_trials
    from dsabench.training.estimate import estimates
    from dsabench.training.run import say
    from dsabench.training.store import Store

    stop, datasets, store = Stop().listen(), Datasets(offline=training.offline), Store(common.runs)
    budget = Budget(trials, tuple(own), tuple(map(selected, select or SELECT)))
    dataset = datasets.load(request.data)
    planned = plan(request, dataset)[: len(specs)]
    arms = [make_arm(one, budget, overrides, store) for one in planned]
    say_read(dataset, planned[0], store, common.quiet)
    if words := one_seed(seeds):
        say(f"--seeds {seeds}: {words}")
    count = len(arms) * trials * len(own)
    warn([*planned] * (trials * len(own)), dataset, jobs)
    if common.dry_run:
        searched = [
            {"arm": str(arm.spec), "option": name, "default": str(arm.default[name]), "space": str(dimension)}
            for arm in arms
            for name, dimension in arm.space.items()
        ]
        side_by_side = jobs or default_jobs(training.threads, planned[0].device)
        seconds = sum(one.steps * one.step_s for one in estimates(planned, store, datasets)) * trials * len(own)
        seconds = round(seconds / min(side_by_side, count), 1)
        if common.as_json:
            print(json.dumps({"budget": str(budget), "runs": count, "seconds": seconds, "spaces": searched}))
            return
        from dsabench.report import print_listing

        print_listing(console(), "spaces", searched)
        print(f"\n{count} runs, of each arm {budget}")
        print(f"about {duration(seconds)} of training with --jobs {side_by_side}, as long as the defaults take")
        return
    title = planned[0].data.label
    name = output or table_name(f"{title}-tuned", [str(arm.spec) for arm in arms], beside_defaults(request, dataset))
    table, curve, winners = Path(f"{name}-trials.csv"), Path(f"{name}-budget.csv"), Path(f"{name}.toml")
    for path in (table, curve, winners):
        check_writable(path)
    if overwrite:
        for arm in arms:
            arm.journal.erase()
    done_before = sum(len(arm.journal.trials()) for arm in arms)
    with progress(count - done_before * len(own), common.quiet, stop) as display:
        search(
            arms,
            budget,
            lambda spec, seed: configure(request, spec, seed, dataset, planned[0].device),
            Workshop(store, datasets, stop, display),
            processes=jobs or default_jobs(training.threads, planned[0].device),
            overwrite=overwrite,
            announce=print_configs if common.verbose else lambda configs: None,
        )
    done = {str(arm.spec): arm.journal.trials() for arm in arms}
    results = summary(done)
    write_trials(done, own, table)
    write_budget(done, curve)
    lost = [result["arm"] for result in results if result["spec"] is None]
    if lost:
        raise RunFailed(f"all {trials} trials of {lost[0]} failed; {table} says how")
    won = [result["spec"] for result in results]
    write_atomic(winners, to_toml(comparison_flags(won, planned[0], request, compare_seeds, budget)))
    if common.as_json:
        files = {"config": str(winners), "trials": str(table), "budget": str(curve)}
        print(json.dumps({"tuning": str(budget), "arms": results, **files}))
    else:
        print(f"{title}: {budget}\n")
        print_results(results)
    say(f"wrote {winners}, {table} and {curve}")


def print_results(results: Sequence[Mapping[str, Any]]) -> None:
    """What each arm came to, and what so much search could be expected to find."""
    from dsabench.report import print_listing

    out = console()
    arms, curves = [], []
    for result in results:
        arm = {"arm": str(result["arm"])}
        values = {name: percent(result[name]) for name in ("default", "best")}
        arms.append({**arm, **values, **{name: str(result[name]) for name in ("trial", "failed", "spec")}})
        curves.append({**arm, **{str(draws): percent(value) for draws, value in result["expected_best"].items()}})
    print_listing(out, "arms", arms)
    print("\nthe best to be expected after so many trials\n")
    print_listing(out, "arms", curves)
    print()


def percent(value: float | None) -> str:
    """An accuracy as tables have it; nothing for one that is not there."""
    return "" if value is None else f"{100 * value:.1f}"
