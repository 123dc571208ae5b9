"""What a dry run says: a line a run, and what all of them take together."""

from __future__ import annotations

from collections.abc import Sequence

from dsabench.progress import duration
from dsabench.report.table import Column, Section, Table
from dsabench.report.wording import counted
from dsabench.training.estimate import Estimate, Total

# How the cost of a step is known, in words.
_KNOWN = {
    "the store": "as finished runs took",
    "steps": "from a few steps, timed now",
    "a forward pass": "a guess from one forward pass",
}


def plan_table(found: Sequence[Estimate], whole: Total) -> Table:
    """Status, steps that are left, time, memory and disk of every run; the notes are about all of them."""
    columns = (
        Column("run", "name"),
        Column("status", "text"),
        *(Column(head, "count") for head in ("steps left", "time", "memory", "disk")),
    )
    lines = []
    for one in found:
        time = duration(one.seconds) if one.status != "finished" else ""
        steps = f"{one.steps - one.steps_done:,}"
        lines.append((one.run, one.status, steps, time, f"{one.memory_mb:,} MB", f"{one.disk_mb:,} MB"))
    return Table("", columns, (Section(tuple(lines)),), tuple(_notes(found, whole)))


def _notes(found: Sequence[Estimate], whole: Total) -> list[str]:
    left = whole.runs - whole.finished
    done = f", {whole.finished} finished already" if whole.finished else ""
    notes = [f"{counted(whole.runs, 'run')}{done}"]
    if left:
        jobs = f", {whole.jobs} side by side" if whole.jobs > 1 else ""
        known = " and ".join(dict.fromkeys(_KNOWN[one.known_by] for one in found if one.status != "finished"))
        notes.append(f"training takes about {duration(whole.seconds)}{jobs} ({known}); evaluation comes on top")
        notes.append(f"memory: {_of(whole.memory_mb, whole.memory_free_mb)}: libraries, data, weights and one batch")
        notes.append(f"disk: {_of(whole.disk_mb, whole.disk_free_mb)}: checkpoints and features")
    return notes


def _of(needed: int, free: int | None) -> str:
    return f"{needed:,} MB" + (f" of {free:,} MB that are free" if free is not None else "")
