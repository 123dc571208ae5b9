"""What was wrong in what a command was told, in one line, and where it was said: flag, environment or file."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import typer

from dsabench.data import DATASETS
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
        words = wanted(context.command, parameter, error.message)
        message = (
            f"{where}: {words}" if where else f"invalid value for --{flag_name(parameter)}: {words}{got(parameter)}"
        )
    elif (hint := meant_by_a_word(message, context.command)) or (hint := meant_by_a_flag(error)):
        return f"{lowered(message.partition(' (Possible')[0])}; {hint}"
    return f"{lowered(message)}; see: {context.command_path} --help"


def wanted(command: Any, parameter: Any, otherwise: str) -> str:
    """What a flag of numbers takes, in words; of any other flag what typer says.

    The command's own signature knows it; what a parsed flag knows differs between versions of typer.
    """
    declared = inspect.signature(command.callback).parameters.get(parameter.name)
    kind, *about = get_args(declared.annotation) if declared else (None,)
    kinds = get_args(kind) or (kind,)
    if int not in kinds and float not in kinds:
        return str(otherwise)
    least = getattr(about[0], "min", None)
    number = "a whole number" if int in kinds else "a number"
    return f"expected {number}" + ("" if least is None else f" of at least {least:g}")


def got(parameter: Any) -> str:
    """What stands on the command line behind a flag, and what else would take a range of seeds."""
    words = sys.argv[1:]
    for position, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in parameter.opts:
            text = value if equals else "".join(words[position + 1 : position + 2])
            ranges = "; a run has one seed, compare --seeds takes ranges"
            return f", got {text!r}" + (ranges if flag == "--seed" and re.search(r"\d[-,]", text) else "")
    return ""


def meant_by_a_word(message: str, command: Any) -> str:
    """The flag that a bare word was to be the value of; empty where that cannot be told."""
    found = re.search(r"unexpected extra arguments? ?(?:\(s\) )?\((\S+)", message)
    if found is None:
        return ""
    word = found[1].rstrip(")")
    flags = {flag_name(parameter) for parameter in command.params}
    if "dataset" in flags and word.partition(":")[0] in DATASETS:
        return f"did you mean --dataset {word}?"
    return f"did you mean --method {word}?" if "method" in flags else ""


def meant_by_a_flag(error: Any) -> str:
    """How an option of an arm, written as a flag, is set, and a metric is named; empty for a flag that is neither."""
    name = str(getattr(error, "option_name", "")).lstrip("-").replace("-", "_")
    if name in ("metric", "metrics"):
        flags = {flag_name(parameter) for parameter in error.ctx.command.params}
        meant = {"primary": "--primary, which decides", "probe": "--probe, which is measured beside it"}
        told = ", or ".join(words for flag, words in meant.items() if flag in flags)
        return f"did you mean {told}?" if "primary" in flags else ""
    if not name or all(flag_name(parameter) != "set" for parameter in error.ctx.command.params):
        return ""
    from dsabench.config.plan import with_option

    # Behind everything else that is wrong: it takes the import of every method.
    owners = with_option(name)
    return f"an option of an arm is set with {' or '.join(f'--set {one}=VALUE' for one in owners)}" if owners else ""


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


def check_folder_is_read(context: Any) -> None:
    """Raise UsageError for a folder of images where no data set was named, so that nothing would read it.

    A command that takes runs or tables reads it as where the images of those lie now.
    """
    said = {name: context.get_parameter_source(name) for name in ("data_dir", "dataset")}
    if None in said.values() or "run" in context.params or context.params.get("stores"):
        return
    if said["data_dir"].name in ("COMMANDLINE", "DEFAULT_MAP") and said["dataset"].name == "DEFAULT":
        folder = context.params["data_dir"]
        raise UsageError(f"--data-dir {folder} is not read without --dataset; {images_in(folder)}")


def images_in(folder: Path) -> str:
    """How the images in a folder are named as the data set."""
    return f"for the images in it: --dataset imagefolder --data-dir {folder} --data-name {folder.resolve().name}"


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
