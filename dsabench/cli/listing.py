"""`dsabench list` and `dsabench show`: what there is."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dsabench.cli import completion, flags
from dsabench.cli.flags import OUTPUT, option
from dsabench.cli.groups import grouped
from dsabench.cli.output import console
from dsabench.errors import UsageError, unknown
from dsabench.evaluators import Evaluator
from dsabench.registry import Entry

KINDS = ("methods", "datasets", "backbones", "probes", "metrics", "regularizers", "spaces", "runs")


@grouped
def list_entries(
    kind: Annotated[
        str,
        typer.Argument(
            help="methods, datasets, backbones, probes, metrics, regularizers, spaces or runs.",
            autocompletion=lambda incomplete: completion.begins(incomplete, KINDS),
        ),
    ],
    everything: Annotated[bool, option(OUTPUT, "With backbones: every model of timm.", "--all")] = False,
    where: flags.Where = None,
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """List what there is: dsabench list methods"""
    if kind == "runs":
        list_runs(runs, where or (), as_json)
        return
    if where:
        raise UsageError("--where selects runs, as in: dsabench list runs --where dataset=digits")
    entries = listing(kind, everything)
    if as_json:
        print(json.dumps(entries))
        return
    from dsabench.report import print_listing

    print_listing(console(whole_lines=True), kind, entries)


def list_runs(runs: Path, where: Sequence[str], as_json: bool) -> None:
    """The runs of a store, oldest first, and what tells them apart."""
    from dsabench.tables.where import accepts, parse_where
    from dsabench.training.inventory import LISTED_KEYS, STATUSES, described
    from dsabench.training.store import Store

    allowed = parse_where(where, LISTED_KEYS, {"status": STATUSES})
    found = [(run, described(run)) for run in Store(runs).runs()]
    shown = [(run, facts) for run, facts in found if accepts(allowed, facts)]
    if as_json:
        print(json.dumps([{**facts, "store": str(runs), "run_dir": str(run.folder)} for run, facts in shown]))
        return
    from dsabench.report import print_runs

    print_runs(console(whole_lines=True), str(runs), [facts for _, facts in shown], of=len(found))


def listing(kind: str, everything: bool) -> list[dict[str, str]]:
    """Names and summaries of a kind."""
    from dsabench.backbones import BACKBONES, timm_names
    from dsabench.data import DATASETS
    from dsabench.methods import METHODS
    from dsabench.metrics import METRICS
    from dsabench.probes import PROBES
    from dsabench.regularizers import REGULARIZERS

    if kind == "spaces":
        from dsabench.config.spaces import all_spaces

        return [
            {"name": f"{half}.{name}", "option": option, "space": str(dimension)}
            for (half, name), space in all_spaces().items()
            for option, dimension in space.items()
        ]
    registries: dict[str, Mapping[str, Entry | Evaluator]] = {
        "methods": METHODS,
        "datasets": DATASETS,
        "backbones": BACKBONES,
        "probes": PROBES,
        "metrics": METRICS,
        "regularizers": REGULARIZERS,
    }
    if kind not in registries:
        raise unknown("kind", kind, KINDS)
    entries = [{"name": name, "summary": entry.summary, **facts(entry)} for name, entry in registries[kind].items()]
    if kind == "backbones" and everything:
        entries += [{"name": name, "summary": "timm"} for name in timm_names() if name not in BACKBONES]
    return entries


def facts(entry: Entry | Evaluator) -> dict[str, str]:
    """What is told of a probe or a metric beside its summary."""
    if not isinstance(entry, Evaluator):
        return {}
    direction = {True: "higher", False: "lower", None: "neither"}[entry.higher_is_better]
    return {
        "formula": entry.formula,
        "direction": direction,
        "cost": entry.cost,
        "source": entry.source,
        "tier": entry.tier,
    }


@grouped
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A name of: dsabench list; or a run's id, the beginning of it, or its folder.",
            autocompletion=completion.things,
        ),
    ],
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Show a run, or what a name stands for with its options: dsabench show simclr

    Of a run: its state, its configuration and where it came from, as in: dsabench show 3f2a. What is called like a
    method, a regularizer, a probe, a metric, a data set or a backbone is that; a folder of the same name is ./NAME.
    """
    from dsabench.config.catalogue import describe

    if name in completion.all_names() or not run_like(name, runs):
        described = describe(name)
        if described is None:
            raise unknown("name", name, completion.all_names(), "dsabench list methods; of runs: dsabench list runs")
        if as_json:
            print(json.dumps(described.as_data()))
            return
        from dsabench.report import print_description

        print_description(console(), described)
        return
    from dsabench.files import to_toml
    from dsabench.training.run import say
    from dsabench.training.store import Store

    found = Store(runs).find(name)
    content: dict[str, Any] = {"run_dir": str(found.folder), **found.state}
    if as_json:
        print(json.dumps(content))
        return
    saved = content.pop("checkpoints")
    content["checkpoints"] = [entry["file"] for entry in saved]
    print(to_toml(content), end="")
    say(f"its curves: {found.folder / 'log.csv'}; its values: dsabench eval {found.folder}")
    if sys.stdout.isatty():
        # Not where TOML is piped on; NO_COLOR and TERM=dumb have nothing against it.
        from dsabench.report import print_log
        from dsabench.training.history import read_curves

        print_log(console(), read_curves(found.folder), f"\n{found.folder / 'log.csv'}")


def run_like(text: str, runs: Path) -> bool:
    """Whether a text can only be meant for a run: a folder, a path, the beginning of an id."""
    begun = any(one.startswith(text) for one in completion.run_ids(runs))
    return begun or Path(text).is_dir() or "/" in text or re.fullmatch("[0-9a-f]{1,12}", text) is not None
