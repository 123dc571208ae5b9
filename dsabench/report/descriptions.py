"""What a name stands for, as tables: its facts, and its options with their defaults."""

from __future__ import annotations

from dsabench.config.catalogue import Description, Option
from dsabench.config.spec import format_value
from dsabench.report.table import Column, Section, Table

# How an option is given, by the kind of what has it.
_GIVEN = {
    "method": "give one as {name}[{option}=...], or to all arms with --set method.{option}=...",
    "regularizer": "give one as METHOD+{name}[{option}=...], or to all arms with --set regularizer.{option}=...",
    "probe": "give one as --probe '{name}[{option}=...]'",
    "metric": "give one as --probe '{name}[{option}=...]'",
}


def description_tables(description: Description) -> list[Table]:
    """The facts of an entry, and its options if it has some; where defaults go by the size of images, both stand."""
    facts = {"source": description.source, **description.facts}
    title = f"{description.name}, a {description.kind}: {description.summary}"
    tables = [Table(title, (), (), tuple(f"{key}: {text}" for key, text in facts.items() if text))]
    if description.options:
        tables.append(_options(description))
    return tables


def _options(description: Description) -> Table:
    options = description.options
    by_size = any(len(set(map(str, option.defaults.values()))) > 1 for option in options)
    searched = any(option.searched for option in options)
    heads = ("below 32 px", "from 32 px") if by_size else ("default",)
    columns = (Column("option", "name"), Column("type", "text"), *(Column(head, "text") for head in heads))
    rows = tuple(
        (option.name, option.type, *_defaults(option)[: len(heads)], *([option.searched] if searched else []))
        for option in options
    )
    note = _GIVEN[description.kind].format(name=description.name, option=options[0].name)
    return Table("options", (*columns, *([Column("tune", "text")] if searched else [])), (Section(rows),), (note,))


def _defaults(option: Option) -> list[str]:
    return ["" if value is None else format_value(value) for value in option.defaults.values()]


def reflowed(text: str) -> str:
    """A docstring with its paragraphs and points in one line each, for a terminal to fold; programs stay."""
    lines: list[str] = []
    for line in text.split("\n"):
        point, program = line.startswith("- "), line.startswith("    ")
        if lines and lines[-1] and line and not (point or program or lines[-1].startswith("    ")):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines)
