"""The TOML file that may hold a command's flags."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from dsabench.cli.mistakes import flag_name
from dsabench.errors import DataError, UsageError


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make a TOML file's values the defaults of a command: below flags and the environment, above the built-in ones."""
    if path is None:
        return None
    try:
        content = path.read_bytes()
        values = tomllib.loads(content.decode())
    except OSError as error:
        raise DataError(f"cannot read the configuration {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"the configuration {path} is not valid TOML: {error}") from error
    if (path.parent / "run.json").exists():
        from dsabench.training.run import own_flags

        values |= own_flags(path, content)
    flags = {flag_name(parameter): parameter for parameter in context.command.params}
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        flag = key.replace("_", "-")
        if flag not in flags or flag == "config":
            if others := _commands_with(flag, context):
                raise UsageError(
                    f"{key!r} in {path} is no flag of {context.info_name}; the file is one for: "
                    f"{' or '.join(f'dsabench {name} --config {path}' for name in others)}"
                )
            near = get_close_matches(flag, flags, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(flags))}"
            raise UsageError(f"unknown key {key!r} in {path}{hint}")
        if isinstance(value, dict):
            raise UsageError(f"{key!r} in {path} is a table; a flag has a value, or a list of them")
        takes_list = flags[flag].multiple or flags[flag].nargs != 1
        if isinstance(value, list) and not takes_list:
            value = ",".join(map(str, value))
        elif takes_list and not isinstance(value, list):
            value = [value]
        defaults[str(flags[flag].name)] = value
    context.default_map = {**(context.default_map or {}), **defaults}
    context.meta["config"] = str(path)
    return path


def _commands_with(flag: str, context: typer.Context) -> list[str]:
    """The other commands that take a file with this flag."""
    commands: dict[str, Any] = getattr(context.parent.command, "commands", {}) if context.parent else {}
    flags = {name: {flag_name(parameter) for parameter in command.params} for name, command in commands.items()}
    return [name for name, known in flags.items() if {flag, "config"} <= known and flag != "config"]
