"""Filters such as `--where dataset=digits`: on what is known of a run, in its store or in the rows of a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from dsabench.errors import UsageError, unknown

# Columns of the tidy table that tell runs apart, by which a store lists its runs too.
RUN_KEYS = (
    "run_id",
    "spec",
    "method",
    "regularizer",
    "dataset",
    "backbone",
    "epochs",
    "batch_size",
    "seed",
    "train_images",
    "image_size",
    "lr",
    "precision",
    "threads",
)


def parse_where(
    texts: Sequence[str],
    known: Collection[str] = RUN_KEYS,
    values: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> dict[str, list[str]]:
    """The values that each key may have, of texts KEY=VALUE.

    Raises UsageError for a key that is not `known`, and for a value that a key of `values` never has.
    """
    allowed: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = (piece.strip() for piece in text.partition("="))
        if not (key and equals and value):
            raise UsageError(f"cannot read --where {text!r}: expected KEY=VALUE, as in dataset=digits")
        if key not in known:
            raise unknown("key of --where", key, known)
        if value not in values.get(key, (value,)):
            raise UsageError(f"unknown {key} of --where {value!r}; known: {', '.join(values[key])}")
        allowed.setdefault(key, []).append(value)
    return allowed


def accepts(allowed: Mapping[str, Sequence[str]], facts: Mapping[str, object]) -> bool:
    """Whether every key has one of its values: of a run's id the beginning is enough, and 2e-3 is 0.002."""
    return all(any(_is(key, facts[key], text) for text in texts) for key, texts in allowed.items())


def _is(key: str, value: object, text: str) -> bool:
    if key == "run_id":
        return str(value).startswith(text)
    if isinstance(value, int | float):
        try:
            return float(text) == value
        except ValueError:
            return False
    return str(value) == text
