"""The frozen configuration of one run: every default filled in, and the hash that is its identity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from dsabench.config.optimization import LATER
from dsabench.config.spec import Part, Spec, parse_spec
from dsabench.data.data_config import DataConfig
from dsabench.files import canonical_json, sha256_bytes, slug
from dsabench.methods import METHODS
from dsabench.registry import Scalar, identity_name
from dsabench.regularizers import REGULARIZERS

# Raised when the same configuration would train to other weights; part of every run's identity.
PROTOCOL_VERSION = 1

# In files a spec is its text.
SpecField = Annotated[
    Spec,
    BeforeValidator(lambda value: parse_spec(value) if isinstance(value, str) else value),
    PlainSerializer(str, return_type=str),
]


class Resolved(BaseModel):
    """Every default filled in: the keyword arguments of both constructors, the optimisation, the view policy."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    method: dict[str, Scalar]
    regularizer: dict[str, Scalar]
    optimizer: dict[str, Scalar]
    views: str


class RunConfig(BaseModel):
    """One pretraining run, complete; `config_hash`, its identity, is of what was resolved and not of how it was said.

    None of `compile` and `augment` is what there was before there was a choice: what is None leaves the hash.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    data: DataConfig
    spec: SpecField
    backbone: str
    epochs: int
    batch_size: int
    seed: int
    device: Literal["cpu", "cuda", "mps"]
    precision: Literal["fp32", "bf16"]
    threads: int
    deterministic: bool
    compile: Literal[True] | None = None
    augment: Literal["reference"] | None = None
    resolved: Resolved
    protocol: int = PROTOCOL_VERSION

    def identity(self) -> dict[str, object]:
        """What decides the weights: the names, every option with its value, and how they are trained.

        Options that came after runs existed are left out at the value at which they change nothing, so that those
        runs stay what they are; a name that stands for another with options is that other, and what was called
        otherwise in its first runs is called so.
        """
        method, regularizer = self.spec.method.name, self.spec.regularizer.name
        return {
            **self.model_dump(exclude={"data", "spec", "resolved"}, exclude_none=True),
            "data": self.data.identity(),
            "method": method,
            "regularizer": identity_name(REGULARIZERS, regularizer),
            "options": {
                "method": settled(self.resolved.method, METHODS[method].later),
                "regularizer": settled(self.resolved.regularizer, REGULARIZERS[regularizer].later),
                "optimizer": settled(self.resolved.optimizer, LATER),
                "views": self.resolved.views,
            },
        }

    @property
    def config_hash(self) -> str:
        """SHA-256 of the canonical JSON of the identity."""
        return sha256_bytes(canonical_json(self.identity()).encode())

    @property
    def run_id(self) -> str:
        """The first 12 characters of the hash."""
        return self.config_hash[:12]

    @property
    def label(self) -> str:
        """What a person calls the run: `simclr+dsa s3`."""
        return f"{self.spec} s{self.seed}"

    def folder(self, runs: Path) -> Path:
        """`<runs>/<dataset>/<method>/s<seed>-<hash>`; options are told apart by the hash."""
        name = str(Spec(Part(self.spec.method.name), Part(self.spec.regularizer.name)))
        return runs / slug(self.data.label) / name / f"s{self.seed}-{self.run_id}"

    def flags(self) -> dict[str, object]:
        """The run as flags of `pretrain`, for a `config.toml` that `--config` reads back."""
        data = {
            "dataset": self.data.name,
            "data_dir": self.data.folder,
            "data_name": self.data.title,
            "train_images": self.data.train_images,
            "subset": self.data.subset,
            "image_size": self.data.image_size,
            "val_share": self.data.val_share,
            "group_by": self.data.group_by,
            "contaminate": self.data.contaminate,
        }
        flags = self.model_dump(exclude={"data", "spec", "resolved", "protocol"}, exclude_none=True)
        if self.epochs == 0:
            # What is not trained has no epochs, and the flag takes no 0.
            del flags["epochs"]
        return {"method": str(self.spec), **{key: value for key, value in data.items() if value is not None}, **flags}


def settled(options: Mapping[str, Scalar], later: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The options without those that came later and have the value that changes nothing; 1.0 is 1, as in a spec."""
    kept = {name: value for name, value in options.items() if name not in later or value != later[name]}
    whole = {name: int(x) for name, x in kept.items() if isinstance(x, float) and x.is_integer() and abs(x) < 2**53}
    return kept | whole
