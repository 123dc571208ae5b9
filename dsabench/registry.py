"""Registries are plain dictionaries, name -> Entry, whose targets are imported only when used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from dsabench.errors import unknown

# The value of an option, in a spec or a constructor.
Scalar = bool | int | float | str


class Entry(NamedTuple):
    """Where a thing lives (`"module:attribute"`) and what it is in one line.

    `preset` holds options under which the entry is known by this name, which makes a variant a line of data; `later`
    holds the options that came after runs existed, each at the value at which it changes nothing and leaves a run's
    identity. `identity` is what the entry was called when its first runs were written, where that is another name: they
    keep their identity, and no later owner of the name can have it.
    """

    target: str
    summary: str
    preset: Mapping[str, Scalar] = MappingProxyType({})
    later: Mapping[str, Scalar] = MappingProxyType({})
    identity: str = ""


class Targeted(Protocol):
    """An entry of any registry."""

    @property
    def target(self) -> str:
        """`"module:attribute"`."""


def load(registry: Mapping[str, Targeted], kind: str, name: str, *, see: str = "") -> Any:
    """Import the entry called `name`; raises UsageError with the nearest name, and where to `see`, if there is none."""
    if name not in registry:
        raise unknown(kind, name, registry, see or f"dsabench list {kind.replace(' ', '')}s")
    module, _, attribute = registry[name].target.partition(":")
    return getattr(import_module(module), attribute)


def canonical_name(registry: Mapping[str, Entry], name: str) -> str:
    """The name without a preset for what `name` stands for: `dsa-nested` for `dsa-pull`, and most for themselves."""
    target = registry[name].target
    return next((other for other, entry in registry.items() if entry.target == target and not entry.preset), name)


def identity_name(registry: Mapping[str, Entry], name: str) -> str:
    """What a run's identity calls what `name` stands for: its canonical name, or what that was called first."""
    canonical = canonical_name(registry, name)
    return registry[canonical].identity or canonical
