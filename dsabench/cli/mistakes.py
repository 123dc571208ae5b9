"""What was wrong in what a command was told, in one line, and where it was said: flag, environment or file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import typer

from dsabench.errors import DataError, UsageError

# What typer raises for a wrong word; older versions take the class from click, newer ones have their own.
WrongWord: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")

PREFIX = "DSABENCH_"


def flag_name(parameter: Any) -> str:
    """A parameter's long flag without its dashes, or an argument's name."""
    return next((text[2:] for text in parameter.opts if text.startswith("--")), str(parameter.name))


def variables(parameter: Any) -> list[str]:
    """The environment variables that stand in for a parameter."""
    return [parameter.envvar] if isinstance(parameter.envvar, str) else list(parameter.envvar or ())


def origin(context: Any, parameter: Any) -> str:
    """Where a parameter's value was said, with the value, if not on the command line; else nothing."""
    source = context.get_parameter_source(parameter.name)
    if source is not None and source.name == "ENVIRONMENT":
        return next(f"{name}={os.environ[name]!r} in the environment" for name in variables(parameter))
    if source is not None and source.name == "DEFAULT_MAP":
        said = context.default_map[parameter.name]
        return f"{flag_name(parameter)}={said!r} in {context.meta['config']}"
    return ""


def misread(error: Any) -> str:
    """One line for what typer refuses: a wrong flag, a value of another type, an argument that is missing."""
    context, parameter = error.ctx, getattr(error, "param", None)
    message = str(error.format_message())
    if context is None:
        return lowered(message)
    if parameter is not None and type(error).__name__ == "MissingParameter":
        return (
            f"{context.info_name} needs {lowered(parameter.help or parameter.name)}; as in: {example(context.command)}"
        )
    if parameter is not None:
        where = origin(context, parameter)
        message = (
            f"{where}: {error.message}" if where else f"invalid value for --{flag_name(parameter)}: {error.message}"
        )
    return f"{lowered(message)}; see: {context.command_path} --help"


def lowered(sentence: str) -> str:
    """A sentence as a part of another one; a word in capitals stays what it is."""
    start = sentence[0] if sentence[1:2].isupper() else sentence[0].lower()
    return start + sentence[1:].rstrip(".")


def example(command: Any) -> str:
    """The command line that the first line of a command's help ends with."""
    found = re.search(r"dsabench .*", str(command.help).partition("\n")[0])
    return found[0] if found else f"dsabench {command.name} --help"


def located(error: UsageError | DataError, context: Any) -> UsageError | DataError:
    """The error with where its value was said, if that was in the environment or in a file."""
    blamed = str(error).partition(";")[0]
    places = [
        where
        for parameter in context.command.params
        if (where := origin(context, parameter)) and blames(blamed, parameter, context.params.get(parameter.name))
    ]
    return type(error)(f"{error} ({', '.join(places)})") if places else error


def blames(message: str, parameter: Any, value: object) -> bool:
    """Whether a message is about a parameter: it has its flag, or quotes its value or a part of that."""
    if re.search(rf"--{re.escape(flag_name(parameter))}(?![\w-])", message):
        return True
    quoted = re.findall(r"'([^']+)'", message)
    return any(word in text for text in texts(value) for word in quoted)


def texts(value: object) -> Iterator[str]:
    """A value as the words that it was said in."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from texts(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def strangers(environment: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """A sentence for every variable of the environment that is named like ours and that nothing reads."""
    names = sorted({name.removeprefix(PREFIX) for name in known})
    found = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in names:
            near = get_close_matches(name.removeprefix(PREFIX), names, n=1, cutoff=0.5)
            hint = f"did you mean {PREFIX}{near[0]}?" if near else f"known: {', '.join(PREFIX + one for one in names)}"
            found.append(f"warning: nothing reads the environment variable {name}; {hint}")
    return found


def known_variables(context: Any) -> Iterator[str]:
    """The environment variables of all commands."""
    for command in context.command.commands.values():
        for parameter in command.params:
            yield from variables(parameter)
