"""Runs that earlier versions wrote: their `run.json` as this version reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsabench.config.optimization import LATER
from dsabench.config.spec import parse_part
from dsabench.errors import DataError
from dsabench.files import canonical_json, sha256_bytes
from dsabench.methods import METHODS
from dsabench.registry import Entry, Scalar
from dsabench.regularizers import REGULARIZERS

SCHEMA_VERSION = 2

# Data sets whose name does not say what is in them; from version 2 on their content is part of a run's identity.
FOLDERS = frozenset({"imagefolder"})


def current(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content of a `run.json` in this version's form; raises DataError for one that this version cannot read."""
    version = state.get("schema_version", 1)
    if version == SCHEMA_VERSION:
        return state
    if version == 1:
        return from_version_1(state, path)
    raise DataError(
        f"{path} has schema_version {version}, this dsabench reads 1 to {SCHEMA_VERSION}; "
        "use the version of dsabench that wrote it"
    )


def from_version_1(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """Version 1 kept the text of both halves, and one flat configuration whose hash was of that text.

    Raises DataError where the configuration is not the one that its hash names.
    """
    old = state["config"]
    identity = {key: value for key, value in old.items() if key != "data_dir" and value is not None}
    if sha256_bytes(canonical_json(identity).encode()) != state["config_hash"]:
        raise DataError(f"{path} was changed by hand: its configuration does not have the hash that it names")
    data = {
        "name": old["dataset"],
        "folder": old["data_dir"],
        "title": old["data_name"],
        "train_images": old["train_images"],
        "image_size": old["image_size"],
        "content": state.get("dataset_sha256") if old["dataset"] in FOLDERS else None,
    }
    flat = ("dataset", "data_dir", "data_name", "train_images", "image_size", "method", "regularizer", "resolved")
    method, regularizer = (parse_part(old[half]).name for half in ("method", "regularizer"))
    resolved = old["resolved"]
    config = {
        **{key: value for key, value in old.items() if key not in flat},
        "data": data,
        "spec": old["method"] if old["regularizer"] == "none" else f"{old['method']}+{old['regularizer']}",
        "resolved": {
            "method": later_of(METHODS, method) | resolved["method"],
            "regularizer": later_of(REGULARIZERS, regularizer) | resolved["regularizer"],
            # What is not trained has no optimiser.
            "optimizer": (dict(LATER) if resolved["optimizer"] else {}) | resolved["optimizer"],
            "views": resolved["views"],
        },
    }
    return {**state, "schema_version": SCHEMA_VERSION, "config": config}


def later_of(registry: Mapping[str, Entry], name: str) -> dict[str, Scalar]:
    """The options that came after, at the values that they had before they were options."""
    return dict(registry[name].later) if name in registry else {}
