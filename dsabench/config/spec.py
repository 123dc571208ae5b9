"""The grammar of specs, such as `simclr[temperature=0.2]+dsa[weight=5]`.

A spec is `METHOD` or `METHOD+REGULARIZER`, each with options of its own in brackets: `name[key=value,key=value]`.
Values are numbers, `on`/`off`, or words; the canonical text sorts the keys, and `parse_spec(str(spec)) == spec`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dsabench.errors import UsageError
from dsabench.registry import Scalar

# A dot is in the names of modules, which are layers: `blocks.8`.
PART = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)(\[(?P<options>[^\[\]]*)\])?")
WORD = re.compile(r"[A-Za-z0-9_.:/@~-]+")


def parse_value(text: str) -> Scalar:
    """`on`/`true`, `off`/`false`, an integer, a finite number, or a word; a whole float such as 5.0 is the integer."""
    if text.lower() in ("on", "true"):
        return True
    if text.lower() in ("off", "false"):
        return False
    try:
        number = float(text)
    except ValueError:
        if not WORD.fullmatch(text):
            raise UsageError(f"cannot read the value {text!r}: expected a number, on, off, or a word") from None
        return text
    if number != number or abs(number) == float("inf"):
        raise UsageError(f"the value {text!r} is not a finite number")
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def format_value(value: Scalar) -> str:
    """The canonical text of a value, which `parse_value` reads back."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


@dataclass(frozen=True)
class Part:
    """A name and the options that were given with it: half of a spec, a probe, a layer."""

    name: str
    options: Mapping[str, Scalar] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        if not self.options:
            return self.name
        inside = ",".join(f"{key}={format_value(self.options[key])}" for key in sorted(self.options))
        return f"{self.name}[{inside}]"


@dataclass(frozen=True)
class Spec:
    """A method and a regularizer; the text of `simclr+none` is `simclr`."""

    method: Part
    regularizer: Part = field(default_factory=lambda: Part("none"))

    def __str__(self) -> str:
        if self.regularizer == Part("none"):
            return str(self.method)
        return f"{self.method}+{self.regularizer}"


def parse_part(text: str) -> Part:
    """Read `name` or `name[key=value,...]`; raises UsageError with what is wrong."""
    match = PART.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"cannot read {text!r}: expected NAME or NAME[KEY=VALUE,...], as in simclr[temperature=0.2]")
    options: dict[str, Scalar] = {}
    for item in filter(None, (match["options"] or "").split(",")):
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if not (key.isidentifier() and equals):
            raise UsageError(f"cannot read the option {item!r} of {text!r}: expected KEY=VALUE")
        if key in options:
            raise UsageError(f"the option {key!r} is given twice in {text!r}")
        options[key] = parse_value(value)
    return Part(match["name"], options)


def parse_spec(text: str) -> Spec:
    """Read a spec; raises UsageError with what is wrong. Names are checked where they are looked up."""
    # A plus sign inside brackets belongs to a value, as in 1e+3.
    halves = re.split(r"\+(?![^\[]*\])", text)
    if len(halves) > 2:
        raise UsageError(f"cannot read the spec {text!r}: expected METHOD or METHOD+REGULARIZER")
    return Spec(*(parse_part(half) for half in halves))


def one_seed(text: str) -> str:
    """What is said of a single number, which names one seed and does not count them; empty of anything else."""
    number = text.strip()
    if not number.isdigit() or int(number) < 2:
        return ""
    return f"one seed, number {int(number)}; for {int(number)} seeds: 0-{int(number) - 1}"


def parse_seeds(text: str) -> list[int]:
    """`0-5`, `3` or `0,2,4-6` as a sorted list without repeats; raises UsageError otherwise."""
    seeds: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})(?:\s*-\s*(\d{1,18}))?\s*", item)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise UsageError(f"cannot read the seeds {text[:60]!r}: expected a list or a range, as in 0-5 or 0,2,4")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first > 10_000:
            raise UsageError(f"the seeds {text!r} are {last - first + 1:,} runs; give at most 10,000")
        seeds.update(range(first, last + 1))
    return sorted(seeds)


def without_options(arm: str) -> str:
    """An arm's name without the options in its brackets."""
    return re.sub(r"\[[^\]]*\]", "", arm)


def brief_names(arms: Iterable[str]) -> dict[str, str]:
    """What arms are called without their options, those alike in full."""
    short = {arm: without_options(arm) for arm in arms}
    counts = Counter(short.values())
    return {arm: name if counts[name] == 1 else arm for arm, name in short.items()}
