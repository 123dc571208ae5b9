"""What can go wrong for a user, each with the exit code that scripts rely on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class DsabenchError(Exception):
    """A failure whose message alone tells the user what to do; printed without a traceback."""

    exit_code = 1


class RunFailed(DsabenchError):
    """A run stopped by itself: a loss that is not finite, a worker that died."""

    exit_code = 1


class ProcessLost(DsabenchError):
    """Another process of the same run is gone or does not answer, so that this one cannot go on."""


class UsageError(DsabenchError):
    """A wrong name, flag, option or combination of them."""

    exit_code = 2


class DataError(DsabenchError):
    """A data set, checkpoint or run folder that is missing, damaged or another one."""

    exit_code = 3


class StorageError(DsabenchError):
    """A disk that is full or a folder that may not be written."""

    exit_code = 4


class NothingToCompare(DsabenchError):
    """A comparison that no finished run is left for."""

    exit_code = 5


class Interrupted(DsabenchError):
    """A signal ended the work after it had been saved; carries the shell's code for it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type[Interrupted], tuple[str, int]]:
        # A worker process sends it to its parent, and the default pickles the message alone.
        return (type(self), (str(self), self.exit_code))


MOST_NAMED = 10
"""So many of what is wrong are named, and the others counted."""


def several(named: Sequence[str], between: str = "\n  ", count: int | None = None) -> str:
    """The first `MOST_NAMED` of what is named, and how many more there are of `count` (those that are named)."""
    more = (len(named) if count is None else count) - len(named[:MOST_NAMED])
    return between.join([*named[:MOST_NAMED], *([f"and {more:,} more"] if more else [])])


# What things are called elsewhere, too far from their names here to be found by spelling.
_ALIASES = {"gpu": "cuda"}


def unknown(kind: str, name: str, known: Iterable[str], see: str = "") -> UsageError:
    """The error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    # CIFAR10 is cifar10 to everybody.
    small = {one.lower(): one for one in names}
    meant = _ALIASES.get(name.lower(), name.lower())
    near = [small[one] for one in get_close_matches(meant, small, n=1, cutoff=0.5)]
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}" if names else ""
    tail = f" see: {see}" if see and near else f"; see: {see}" if see else ""
    return UsageError(f"unknown {kind} {name!r}{hint}{tail}")
