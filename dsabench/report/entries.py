"""Tables of what exists: methods, data sets, runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsabench.report.table import Column, Section, Table


def listing_table(kind: str, entries: Sequence[Mapping[str, str]]) -> Table:
    """What exists of a kind (`methods`, `runs`): one line an entry, one column a key, the first its name."""
    if not entries:
        return Table("", (), (), (f"no {kind} yet",))
    keys = list(dict.fromkeys(key for entry in entries for key in entry))
    columns = tuple(Column(key, "text" if place else "name") for place, key in enumerate(keys))
    return Table("", columns, (Section(tuple(tuple(entry.get(key) for key in keys) for entry in entries)),))
