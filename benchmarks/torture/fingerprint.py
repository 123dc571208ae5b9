"""What a folder holds, with all that may differ between two equal runs left out: times, and what derives from them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file

from dsabench.errors import DsabenchError
from dsabench.files import read_json, sha256_bytes
from dsabench.launch.journal import Journal
from dsabench.tables.rows import comparable, read_csv
from dsabench.training.checkpoint import read_checkpoint, tensors_sha256
from dsabench.training.run import Run

Fingerprint = dict[str, str]

TIMES = ("wall_s", "images_per_s", "peak_mem_mb")
# Facts of the record that are times, hashes of files that hold times, or where the code was when it ran.
INCIDENTAL = frozenset((*TIMES, "started_utc", "finished_utc", "checksum", "log_sha256", "checkpoints"))
INCIDENTAL |= {"git_sha", "git_dirty"}
# What the scene of `export` writes.
EXPORTED = "b.safetensors"
# Who works on what, which is no content.
IGNORED = (".claim-", ".clock")


def fingerprint(folder: Path) -> Fingerprint:
    """A text for every file below `folder`, by its path; a file that cannot be read says so."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(IGNORED) and path.suffix != ".lock" and not is_older(path):
            found[str(path.relative_to(folder))] = _content(path)
    return found


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """What is missing, too much or other than expected."""
    names = sorted(found.keys() | expected.keys())
    return [
        f"{name} is {'missing' if name not in found else 'too much' if name not in expected else 'another'}"
        for name in names
        if found.get(name) != expected.get(name)
    ]


def is_older(path: Path) -> bool:
    """Whether this is the checkpoint before the last of a finished run: which step it is of depends on the time."""
    if path.parent.name != "checkpoints" or not (path.parents[1] / "run.json").exists():
        return False
    try:
        run = Run.load(path.parents[1])
    except DsabenchError:
        return False
    older = [saved["file"] for saved in run.state["checkpoints"][:-1]]
    return run.state["status"] == "finished" and path.name in older


def _content(path: Path) -> str:
    try:
        if path.name == "run.json":
            state = Run.load(path.parent).state
            return _hash({name: value for name, value in state.items() if name not in INCIDENTAL})
        if path.parent.name == "checkpoints":
            tensors, meta = read_checkpoint(path)
            log = [{name: value for name, value in row.items() if name not in TIMES} for row in meta["log"]]
            return tensors_sha256(tensors) + _hash({"step": meta["step"], "log": log})
        if path.suffix == ".csv":
            return _table(path)
        if path.parent.name == "tuning":
            trials = Journal(path, path.stem).trials()
            return _hash({"trials": [(trial.number, trial.options, trial.values, trial.run_ids) for trial in trials]})
        if path.parent.name == "declarations":
            return _hash({name: said for name, said in read_json(path).items() if name != "utc"})
        if path.name == EXPORTED:
            with safe_open(path, framework="pt") as file:
                # In a file they stand in any order.
                return tensors_sha256(load_file(path)) + _hash(file.metadata())
        return sha256_bytes(path.read_bytes())
    except DsabenchError as error:
        return f"unreadable: {error}"


def _table(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if text.startswith("schema_version,run_id"):
        return _hash({"rows": list(map(comparable, read_csv(path)))})
    rows = [
        {name: cell for name, cell in row.items() if name not in TIMES} for row in csv.DictReader(io.StringIO(text))
    ]
    return _hash({"rows": rows})


def _hash(content: Mapping[str, Any]) -> str:
    return sha256_bytes(json.dumps(content, sort_keys=True, default=str).encode())
