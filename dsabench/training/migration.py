"""Runs that earlier versions wrote: their `run.json` as this version reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsabench.config.optimization import LATER
from dsabench.config.renames import in_spec, renamed, respelled
from dsabench.config.run_config import RunConfig
from dsabench.config.spec import parse_part, parse_spec
from dsabench.errors import DataError
from dsabench.files import canonical_json, sha256_bytes
from dsabench.methods import METHODS
from dsabench.registry import Entry, Scalar
from dsabench.regularizers import ALONE, REGULARIZERS
from dsabench.training.record import SCHEMA_VERSION

# Data sets whose name does not say what is in them; from version 2 on their content is part of a run's identity.
FOLDERS = frozenset({"imagefolder"})


def check_version(state: Mapping[str, Any], path: Path) -> None:
    """Raise DataError for a `run.json` of a version that this one cannot read."""
    version = state.get("schema_version")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise DataError(
            f"{path} has schema_version {version}, this dsabench reads 1 to {SCHEMA_VERSION}; "
            "use the version of dsabench that wrote it"
        )


def current(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content of a `run.json` that this version can read in its form.

    Version 2 has the form of 3 without a checksum. Raises DataError where version 1 has been changed by hand.
    """
    version = state["schema_version"]
    state = from_version_1(state, path) if version == 1 else state
    state = from_version_3(state) if version <= 3 else state
    state = from_version_6(state) if version <= 6 else state
    return {**state, "schema_version": SCHEMA_VERSION}


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
        "folder": old.get("data_dir"),
        "title": old.get("data_name"),
        "train_images": old.get("train_images"),
        "image_size": old.get("image_size"),
        "content": state.get("dataset_sha256") if old["dataset"] in FOLDERS else None,
    }
    flat = ("dataset", "data_dir", "data_name", "train_images", "image_size", "method", "regularizer", "resolved")
    method, resolved = parse_part(old["method"]).name, old["resolved"]
    config = {
        **{key: value for key, value in old.items() if key not in flat},
        "data": data,
        "spec": old["method"] if old["regularizer"] == "none" else f"{old['method']}+{old['regularizer']}",
        "resolved": {
            "method": later_of(METHODS, method) | resolved["method"],
            "regularizer": resolved["regularizer"],
            # What is not trained has no optimiser.
            "optimizer": (dict(LATER) if resolved["optimizer"] else {}) | resolved["optimizer"],
            "views": resolved["views"],
        },
    }
    return {**state, "config": config}


def from_version_3(state: dict[str, Any]) -> dict[str, Any]:
    """Up to version 3 `dsa` was what is `dsa-nested` now, and `dsa` was `dsa-bank`."""
    config = state["config"]
    return {
        **state,
        "spec": in_spec(state["spec"], renamed),
        "config": {**config, "spec": in_spec(config["spec"], renamed)},
    }


def from_version_6(state: dict[str, Any]) -> dict[str, Any]:
    """Up to version 6 `dsa` had other defaults, and runs from before an option existed do not say it."""
    config = state["config"]
    resolved = config["resolved"]
    trained = later_of(REGULARIZERS, parse_spec(config["spec"]).regularizer.name) | resolved["regularizer"]
    if adjusted_by_neighbours(state):
        trained["adjust_by"] = ALONE

    def as_now(spec: str) -> str:
        return in_spec(spec, lambda part: respelled(part, trained))

    config = {**config, "spec": as_now(config["spec"]), "resolved": {**resolved, "regularizer": trained}}
    return {**state, "spec": as_now(state["spec"]), "config": config}


def adjusted_by_neighbours(state: Mapping[str, Any]) -> bool:
    """Whether a `run.json` as it was written is of a `dsa` that adjusted features before it could say by what."""
    options = state["config"]["resolved"]["regularizer"]
    return options.get("adjust") is True and "adjust_by" not in options


def names(state: Mapping[str, Any], config: RunConfig) -> bool:
    """Whether a `run.json`, as it was written, names the hash of this configuration, which was read from it.

    The hash of version 1 was of another text, which was checked. For some time that of version 3 was of `push` of
    `dsa-bank` also where it was 0, and that of version 6 of a `dsa` that did not say by what it adjusts.
    """
    version, written = state["schema_version"], state["config_hash"]
    if version == 1 or written == config.config_hash:
        return True
    identity: dict[str, Any] = config.identity()
    if adjusted_by_neighbours(state):
        del identity["options"]["regularizer"]["adjust_by"]
        return bool(written == sha256_bytes(canonical_json(identity).encode()))
    if version > 3 or state["config"]["resolved"]["regularizer"].get("push") != 0:
        return False
    identity["options"]["regularizer"]["push"] = 0
    return bool(written == sha256_bytes(canonical_json(identity).encode()))


def later_of(registry: Mapping[str, Entry], name: str) -> dict[str, Scalar]:
    """The options that came after, at the values that they had before they were options."""
    return dict(registry[name].later) if name in registry else {}
