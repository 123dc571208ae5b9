"""Randomness as data: every draw is named by what it is for, so that there is no generator state to save.

`generator(seed, "augment", epoch, step)` gives the same numbers in every process, on every device and after
every resume; two arms of a comparison that share a seed therefore see the same draws.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*names: str | int) -> int:
    """A 63-bit seed from the names of a draw."""
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*names: str | int) -> torch.Generator:
    """A torch generator on the CPU: draws are made there and moved, so that they do not depend on the device."""
    return torch.Generator().manual_seed(seed_of(*names))


def numpy_generator(*names: str | int) -> np.random.Generator:
    """The same for NumPy."""
    return np.random.default_rng(seed_of(*names))


@contextmanager
def forked(*names: str | int) -> Iterator[None]:
    """Seed the global generators by name for library code that draws from them, and put them back after."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            seed = seed_of(*names)
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


@contextmanager
def forked_cpu(*names: str | int) -> Iterator[None]:
    """`forked` for code that draws from torch's generator of the CPU alone: quick enough for every single image."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(*names))
        yield
