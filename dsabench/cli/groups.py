"""Flags in groups: a dataclass of flags is spelled once, and every command that takes it has them."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import typer

from dsabench.cli.mistakes import check_folder_is_read, located
from dsabench.errors import DataError, UsageError


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer, which sees the flags of each group among the command's parameters.

    An error about a value that was said in the environment or in a file says where. With `--debug` it is printed with
    its traceback before it goes on to become one line. A command that takes a `context` is given typer's.
    """
    kinds = get_type_hints(command, include_extras=True)
    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind = kinds[parameter.name]
        if kind is typer.Context:
            continue
        if not is_dataclass(kind):
            parameters.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = kind
        inner = get_type_hints(kind, include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=inner[field.name]
            )
            for field in fields(kind)
        ]

    def run(*, context: typer.Context, **values: Any) -> None:
        debug = bool(values.get("debug"))
        given = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        if "context" in kinds:
            given["context"] = context
        try:
            check_folder_is_read(context)
            command(**values, **given)
        except Exception as error:
            if debug:
                traceback.print_exception(error)
            if isinstance(error, UsageError | DataError):
                raise located(error, context) from error
            raise

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
