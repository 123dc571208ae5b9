"""Files of weights that others wrote: every set of tensors inside, read without running anything that is in them."""

from __future__ import annotations

import argparse
import json
import logging
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dsabench.errors import DataError

# How deep wrappers may lie: VISSL's classy_state_dict/base_model/model/trunk is four.
_DEEPEST = 6
_PICKLES = (b"\x80", b"PK")


class WeightFile(NamedTuple):
    """The sets of tensors in a file by the wrappers they lie under, as in `model.teacher` (empty for none), and what
    the file says of itself."""

    sets: Mapping[str, Mapping[str, Tensor]]
    about: Mapping[str, Any]


def read_weights(path: Path) -> WeightFile:
    """A file of safetensors, or one that torch.save wrote, read with `weights_only`.

    Raises DataError for any other file, one that is damaged, that holds what could run code, or no tensors.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise DataError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    if start[8:] == b"{":
        return _safetensors(path)
    if not start.startswith(_PICKLES):
        raise DataError(f"the checkpoint {path} is neither safetensors nor a file of torch.save")
    content = _unpickled(path)
    if not isinstance(content, Mapping):
        raise DataError(f"the checkpoint {path} holds a {type(content).__name__} and no state dict")
    sets = dict(_sets(content, ""))
    if not sets:
        raise DataError(
            f"the checkpoint {path} holds no tensors by name, but {', '.join(map(str, content)) or 'nothing'}"
        )
    return WeightFile(sets, {})


def _safetensors(path: Path) -> WeightFile:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
            about = json.loads((file.metadata() or {}).get("dsabench", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"cannot read the checkpoint {path}: {error}") from error
    if not tensors:
        raise DataError(f"the checkpoint {path} holds no tensors")
    return WeightFile({"": tensors}, about if isinstance(about, dict) else {})


@contextmanager
def quiet_downloads() -> Iterator[None]:
    """No bar and no word of timm and the Hub on each of their tries; what they raise is what is told."""
    # The Hub's own words are on what it tries again, a line a try, for half a minute.
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "timm")]
    levels = [logger.level for logger in loggers]
    had_bars = not are_progress_bars_disabled()
    try:
        disable_progress_bars()
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if had_bars:
            enable_progress_bars()


def _unpickled(path: Path) -> object:
    # The arguments of a script are plain values, and MAE, MoCo and DINO write them beside their weights.
    with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            named = next((line for line in str(error).splitlines() if "GLOBAL" in line or "global" in line), "")
            what = next((word for word in named.split() if "." in word.strip(".")), "").strip(".,`'\"")
            if what:
                raise DataError(
                    f"the checkpoint {path} holds {what}, which is not loaded, for it could run code; "
                    "save its state_dict alone, best as safetensors"
                ) from error
            raise DataError(f"the checkpoint {path} is damaged: {str(error).partition(chr(10))[0]}") from error
        except (*_DAMAGED, zipfile.BadZipFile) as error:
            text = str(error).partition("\n")[0] or type(error).__name__
            raise DataError(f"cannot read the checkpoint {path}: {text}") from error


_DAMAGED = (OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, MemoryError)


def _sets(content: Mapping[Any, Any], where: str, depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping that holds tensors by name, outermost first."""
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield where, tensors
    if depth < _DEEPEST:
        for key, value in content.items():
            if isinstance(value, Mapping):
                yield from _sets(value, f"{where}.{key}" if where else str(key), depth + 1)
