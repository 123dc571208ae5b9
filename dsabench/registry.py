"""Registries are plain dictionaries, name -> Entry, whose targets are imported only when used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from dsabench.errors import unknown


class Entry(NamedTuple):
    """Where a thing lives (`"module:attribute"`), what it is in one line, and which direction is better."""

    target: str
    summary: str
    higher_is_better: bool | None = None


def load(registry: Mapping[str, Entry], kind: str, name: str) -> Any:
    """Import the entry called `name`; raises UsageError with the nearest name where there is none."""
    if name not in registry:
        raise unknown(kind, name, registry, f"dsabench list {kind.replace(' ', '')}s")
    module, _, attribute = registry[name].target.partition(":")
    return getattr(import_module(module), attribute)
