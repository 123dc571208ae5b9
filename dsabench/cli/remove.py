"""`dsabench remove`: delete a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dsabench.cli import flags
from dsabench.cli.flags import OUTPUT, option
from dsabench.cli.groups import grouped
from dsabench.errors import UsageError


@grouped
def remove(
    run: Annotated[list[str], typer.Argument(help="Runs by id, the beginning of it, or folder.")],
    yes: Annotated[bool, option(OUTPUT, "Do not ask.", "--yes", "-y")] = False,
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Delete runs with their checkpoints, features and logs, after asking: dsabench remove 3f2a"""
    from dsabench.training.inventory import finish_removals, status_of
    from dsabench.training.inventory import remove as remove_run
    from dsabench.training.run import say
    from dsabench.training.store import Store

    finish_removals(runs)
    store = Store(runs)
    found = list({one.folder: one for one in map(store.find, run)}.values())
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody is there to be asked: say --yes to delete without a question")
        for one in found:
            say(f"{one.config.label}, {one.config.data.label}, {status_of(one)}: {one.folder}")
        if not typer.confirm(f"Delete {len(found)} run{'s' * (len(found) > 1)} for good?", err=True):
            say("nothing was deleted")
            return
    for one in found:
        remove_run(one)
        say(f"deleted {one.config.label}: {one.folder}")
    if as_json:
        print(json.dumps({"deleted": [str(one.folder) for one in found]}))
