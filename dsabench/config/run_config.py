"""The frozen configuration of one run: every default filled in, and the hash that is its identity."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dsabench.config.spec import Part, Spec, parse_part
from dsabench.files import canonical_json, sha256_bytes, slug
from dsabench.registry import Scalar

# Raised when the same configuration would train to other weights; part of every run's identity.
PROTOCOL_VERSION = 1


class Resolved(BaseModel):
    """Every default filled in: the keyword arguments of both constructors, the optimisation, the view policy."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    method: dict[str, Scalar]
    regularizer: dict[str, Scalar]
    optimizer: dict[str, Scalar]
    views: str


class RunConfig(BaseModel):
    """One pretraining run, complete; its hash is the run's identity, and the folder of the data is no part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: str
    data_dir: str | None = None
    data_name: str | None = None
    train_images: int | None = None
    image_size: int | None = None
    method: str
    regularizer: str
    backbone: str
    epochs: int
    batch_size: int
    seed: int
    device: Literal["cpu", "cuda", "mps"]
    precision: Literal["fp32", "bf16"]
    threads: int
    deterministic: bool
    compile: Literal[True] | None = None
    # None is the batched augmentation, so that runs from before there was a choice keep their identity.
    augment: Literal["reference"] | None = None
    resolved: Resolved
    protocol: int = PROTOCOL_VERSION

    @property
    def spec(self) -> Spec:
        """The spec of the run, whose halves are `method` and `regularizer`."""
        return Spec(parse_part(self.method), parse_part(self.regularizer))

    @property
    def config_hash(self) -> str:
        """SHA-256 of the canonical JSON of everything but the folder of the data."""
        # An option that is not given is no part of the identity, so that a later version may have more of them.
        identity = self.model_dump(exclude={"data_dir"}, exclude_none=True)
        return sha256_bytes(canonical_json(identity).encode())

    @property
    def run_id(self) -> str:
        """The first 12 characters of the hash."""
        return self.config_hash[:12]

    @property
    def title(self) -> str:
        """What tables call the data set."""
        return self.data_name or self.dataset

    @property
    def label(self) -> str:
        """What a person calls the run: `simclr+dsa s3`."""
        return f"{self.spec} s{self.seed}"

    def folder(self, runs: Path) -> Path:
        """`<runs>/<dataset>/<method>/s<seed>-<hash>`; options are told apart by the hash."""
        name = str(Spec(Part(self.spec.method.name), Part(self.spec.regularizer.name)))
        return runs / slug(self.title) / name / f"s{self.seed}-{self.run_id}"

    def flags(self) -> dict[str, object]:
        """The run as flags of `pretrain`, for a `config.toml` that `--config` reads back."""
        flags = self.model_dump(exclude={"method", "regularizer", "resolved", "protocol"}, exclude_none=True)
        if self.epochs == 0:
            # What is not trained has no epochs, and the flag takes no 0.
            del flags["epochs"]
        return {"method": str(self.spec), **flags}
