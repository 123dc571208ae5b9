"""Checks of options: each raises ValueError with the option's name and what it may be."""

from __future__ import annotations


def require(condition: bool, message: str) -> None:
    """Raise ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def require_word(option: str, value: str, words: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `words`."""
    require(value in words, f"{option} must be one of {', '.join(words)}, got {value!r}")


def require_positive(**options: float) -> None:
    """Raise ValueError for an option that is not above 0: a temperature, a size, a count."""
    for name, value in options.items():
        require(value > 0, f"{name} must be above 0, got {value}")


def require_share(**options: float) -> None:
    """Raise ValueError for an option outside [0, 1]: the momentum of a teacher, a share of training."""
    for name, value in options.items():
        require(0 <= value <= 1, f"{name} must lie in [0, 1], got {value}")
