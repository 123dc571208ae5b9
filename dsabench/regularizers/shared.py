"""What the regularizers share: checks of their options, and the rows of all processes."""

from __future__ import annotations

import torch
from lightly.utils.dist import gather, world_size
from torch import Tensor


def require(condition: bool, message: str) -> None:
    """Raise ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def require_word(option: str, value: str, words: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `words`."""
    require(value in words, f"{option} must be one of {', '.join(words)}, got {value!r}")


def gather_rows(x: Tensor) -> Tensor:
    """The rows of all processes in rank order, with their gradients; `x` itself where there is one process."""
    return torch.cat(gather(x)) if world_size() > 1 else x
