"""What a run is: method specs such as `simclr[temperature=0.2]+dsa[lambda1=5]`, and the frozen RunConfig.

A spec is `METHOD` or `METHOD+REGULARIZER`, each with options of its own in brackets: `name[key=value,key=value]`.
Values are numbers, `on`/`off`, or words; the canonical text sorts the keys, and `parse_spec(str(spec)) == spec`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dsabench.errors import UsageError
from dsabench.registry import Scalar
from dsabench.results import canonical_json
from dsabench.storage import sha256_bytes, slug

# Raised when the same configuration would train to other weights; part of every run's identity.
PROTOCOL_VERSION = 1

PART = re.compile(r"(?P<name>[A-Za-z0-9_-]+)(\[(?P<options>[^\[\]]*)\])?")
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
    """One half of a spec: a name and the options that were given with it."""

    name: str
    options: Mapping[str, Scalar] = field(default_factory=dict)

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


def parse_seeds(text: str) -> list[int]:
    """`0-5`, `3` or `0,2,4-6` as a sorted list without repeats; raises UsageError otherwise."""
    seeds: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", item)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise UsageError(f"cannot read the seeds {text!r}: expected a list or a range, as in 0-5 or 0,2,4")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first > 10_000:
            raise UsageError(f"the seeds {text!r} are {last - first + 1:,} runs; give at most 10,000")
        seeds.update(range(first, last + 1))
    return sorted(seeds)


class Resolved(BaseModel):
    """Every default filled in: the keyword arguments of both constructors, the optimisation, the view policy."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    method: dict[str, Scalar]
    regularizer: dict[str, Scalar]
    optimizer: dict[str, Scalar]
    views: str


class RunConfig(BaseModel):
    """One pretraining run, complete; its hash is the run's identity, and the folder of the data is no part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: str
    data_dir: str | None = None
    data_name: str | None = None
    train_images: int | None = None
    image_size: int | None = None
    method: str
    regularizer: str
    backbone: str
    epochs: int
    batch_size: int
    seed: int
    device: Literal["cpu", "cuda", "mps"]
    precision: Literal["fp32", "bf16"]
    threads: int
    deterministic: bool
    compile: Literal[True] | None = None
    # None is the batched augmentation, so that runs from before there was a choice keep their identity.
    augment: Literal["reference"] | None = None
    resolved: Resolved
    protocol: int = PROTOCOL_VERSION

    @property
    def spec(self) -> Spec:
        """The spec of the run, whose halves are `method` and `regularizer`."""
        return Spec(parse_part(self.method), parse_part(self.regularizer))

    @property
    def config_hash(self) -> str:
        """SHA-256 of the canonical JSON of everything but the folder of the data."""
        # An option that is not given is no part of the identity, so that a later version may have more of them.
        identity = self.model_dump(exclude={"data_dir"}, exclude_none=True)
        return sha256_bytes(canonical_json(identity).encode())

    @property
    def run_id(self) -> str:
        """The first 12 characters of the hash."""
        return self.config_hash[:12]

    @property
    def title(self) -> str:
        """What tables call the data set."""
        return self.data_name or self.dataset

    @property
    def label(self) -> str:
        """What a person calls the run: `simclr+dsa s3`."""
        return f"{self.spec} s{self.seed}"

    def folder(self, runs: Path) -> Path:
        """`<runs>/<dataset>/<method>/s<seed>-<hash>`; options are told apart by the hash."""
        name = str(Spec(Part(self.spec.method.name), Part(self.spec.regularizer.name)))
        return runs / slug(self.title) / name / f"s{self.seed}-{self.run_id}"

    def flags(self) -> dict[str, object]:
        """The run as flags of `pretrain`, for a `config.toml` that `--config` reads back."""
        flags = self.model_dump(exclude={"method", "regularizer", "resolved", "protocol"}, exclude_none=True)
        if self.epochs == 0:
            # What is not trained has no epochs, and the flag takes no 0.
            del flags["epochs"]
        return {"method": str(self.spec), **flags}
