"""The record of a run: what `run.json` holds, typed for every status, with a checksum over all of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dsabench.errors import DataError
from dsabench.files import canonical_json, sha256_bytes

# The newest form of `run.json`, the one that is written; from 3 on a record has a checksum, from 4 on `dsa` is what was
# `dsa-bank`, with other defaults from 5, from 6 and from 7 on (`config/renames.py`).
SCHEMA_VERSION = 7
SEALED_SINCE = 3
MEND = "restore the file, or remove the run's folder and train it again"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Utc = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z$")]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """Types are what they say: `"3"` is no number, and 1 no truth."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Saved(Strict):
    """A checkpoint: its name in the folder `checkpoints`, which cannot be another place, and the hash of its bytes."""

    file: Annotated[str, Field(pattern=r"^step-[0-9]{8,}\.safetensors$")]
    sha256: Sha256


class Facts(Strict):
    """What a run writes down of its data: `dsabench.data.dataset.DataFacts`."""

    channels: Annotated[int, Field(ge=1)]
    image_size: Annotated[int, Field(ge=1)]
    num_classes: Count
    num_images: Count
    mean: list[Annotated[float, Field(allow_inf_nan=False)]]
    std: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]]


class Begun(Strict):
    """What is known of every run that has begun. A fact that came later is kept as it is, under the checksum."""

    model_config = ConfigDict(extra="allow")

    schema_version: int
    run_id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    config_hash: Sha256
    config: dict[str, Any]
    spec: str
    checkpoints: list[Saved]
    error: str | None = None
    dataset_sha256: Sha256
    # Version 1 had none; null is no fact.
    data_facts: Annotated[Facts, Field(default=None)]
    prior: str
    labels_used: Literal["none", "prior", "training"]
    git_sha: str
    git_dirty: bool | None
    dsabench_version: str
    torch_version: str
    device: str
    capability: str = ""
    blas: str = ""
    n_devices: Annotated[int, Field(ge=1)]
    started_utc: Utc
    step: Count = 0
    images_seen: Count = 0
    wall_s: Amount | None = None
    images_per_s: Amount | None = None
    peak_mem_mb: Amount | None = None
    log_sha256: Sha256 | None = None
    config_sha256: Sha256 | None = None
    checksum: Sha256 | None = None


class Unfinished(Begun):
    """A run under way, or one that was killed or interrupted."""

    status: Literal["running", "interrupted"]


class Finished(Begun):
    """A run that is done: which weights it ended with, and what it cost."""

    status: Literal["finished"]
    checkpoints: Annotated[list[Saved], Field(min_length=1)]
    weights_sha256: Sha256
    finished_utc: Utc
    images_seen: Count
    wall_s: Amount
    images_per_s: Amount
    peak_mem_mb: Amount


class Failed(Begun):
    """A run that stopped by itself, and why."""

    status: Literal["failed"]
    error: str
    finished_utc: Utc


RECORD: TypeAdapter[Any] = TypeAdapter(Annotated[Unfinished | Finished | Failed, Field(discriminator="status")])


def check_record(content: Mapping[str, Any], path: Path) -> None:
    """Raise DataError, naming the file and the field, where this is no record of a run or not the one written.

    Records of versions before 3 have no checksum.
    """
    try:
        RECORD.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # The first place is the status, by which the form is chosen.
        field = ".".join(map(str, first["loc"][1:])) or "status"
        raise DataError(f"{path} is damaged: {field}: {first['msg']}; {MEND}") from error
    version, checksum = content["schema_version"], content.get("checksum")
    if checksum is None and version < SEALED_SINCE:
        return
    if checksum != checksum_of(content, path):
        raise DataError(f"{path} was changed by hand or damaged: it does not have the checksum that it names; {MEND}")


def sealed(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A record with its checksum."""
    return {**content, "checksum": checksum_of(content, path)}


def checksum_of(content: Mapping[str, Any], path: Path) -> str:
    """The SHA-256 of the canonical JSON of all but the checksum; raises DataError for what JSON cannot hold."""
    facts = {name: value for name, value in content.items() if name != "checksum"}
    try:
        return sha256_bytes(canonical_json(facts).encode())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged, it holds what no record does ({error}); {MEND}") from error
