"""What tells the runs of a store apart, whether somebody works on one, and taking one out."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dsabench.config.run_config import RunConfig
from dsabench.errors import DataError, DsabenchError, StorageError
from dsabench.files import read_json
from dsabench.tables.where import RUN_KEYS
from dsabench.training.lock import is_held
from dsabench.training.run import Run

LISTED_KEYS = (*RUN_KEYS, "status", "started_utc")

# A run that no process holds is not running, whatever its file says: the process was killed.
KILLED = "killed"
STATUSES = ("running", "finished", "interrupted", "failed", KILLED)
# How the folder of a run begins that is being deleted.
GONE = ".removed-"


def described(run: Run) -> dict[str, object]:
    """What is known of a run by column of the tidy table (`LISTED_KEYS`), None where it is not."""
    config, facts = run.config, run.state.get("data_facts", {})
    known: dict[str, object] = {
        "run_id": config.run_id,
        "spec": str(config.spec),
        "method": str(config.spec.method),
        "regularizer": str(config.spec.regularizer),
        "dataset": config.data.label,
        "backbone": config.backbone,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "train_images": facts.get("num_images", config.data.train_images),
        "image_size": facts.get("image_size", config.data.image_size),
        "lr": config.resolved.optimizer.get("lr"),
        "precision": config.precision,
        "threads": config.threads,
        "status": status_of(run),
        "started_utc": run.state.get("started_utc"),
    }
    return {key: known[key] for key in LISTED_KEYS}


def last_saved(store: Path, planned: Sequence[RunConfig]) -> list[str]:
    """What of each run that is under way is saved, in words: `simclr s0 at step 1,200`.

    It takes no lock and raises nothing, since a signal handler may ask; a run that cannot be read is left out.
    """
    found = []
    for config in planned:
        with suppress(DsabenchError, KeyError, TypeError, ValueError):
            state = read_json(config.folder(store) / "run.json")
            if state["status"] == "running":
                saved = f"at step {state['step']:,}" if state["checkpoints"] else "not yet"
                found.append(f"{config.label} {saved}")
    return found


def status_of(run: Run) -> str:
    """`finished`, `failed`, `interrupted` or `running`, and `killed` where it says running and nobody holds it."""
    status = str(run.state["status"])
    return KILLED if status == "running" and not is_held(run.folder) else status


def remove(run: Run) -> None:
    """Delete a run with all that is derived from it, and the folders above it that are empty then.

    It leaves the store at once and whole. Raises DataError where a process works on it, StorageError where it may not
    be deleted.
    """
    if is_held(run.folder):
        raise DataError(f"another process works on {run.folder}; end that first")
    gone = run.folder.with_name(f"{GONE}{run.folder.name}-{secrets.token_hex(4)}")
    try:
        run.folder.rename(gone)
        with suppress(FileNotFoundError):
            # Another `remove` may be finishing it.
            shutil.rmtree(gone)
    except OSError as error:
        raise StorageError(f"cannot remove {run.folder}: {error.strerror or error}; check its permissions") from error
    remove_empty(run.folder.parent)


def finish_removals(store: Path) -> None:
    """Delete what a `remove` that was killed had begun to delete."""
    for gone in sorted(store.glob(f"*/*/{GONE}*")):
        shutil.rmtree(gone, ignore_errors=True)
        remove_empty(gone.parent)


def remove_empty(folder: Path) -> None:
    """Delete a folder of runs and the one above it, where nothing is in them."""
    with suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()
