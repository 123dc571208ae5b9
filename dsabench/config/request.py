"""What a user asks for, checked as far as that goes without a data set and without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dsabench.config.spec import Spec, parse_value
from dsabench.data import DATASETS
from dsabench.data.data_config import PLACED, USERS_OWN, DataConfig
from dsabench.errors import DataError, UsageError, unknown
from dsabench.methods import METHODS
from dsabench.registry import Scalar
from dsabench.regularizers import REGULARIZERS

# How views are computed: whole batches on the run's device, or image by image through torchvision.
AUGMENTS = ("batched", "reference")
DEVICES = ("auto", "cuda", "mps", "cpu")
PRECISIONS = ("auto", "fp32", "bf16")
HALVES = ("method", "regularizer")


@dataclass(frozen=True)
class Setting:
    """An option for every arm that has it: `--set regularizer.weight=0`."""

    half: str
    key: str
    value: Scalar


@dataclass(frozen=True)
class Request:
    """What the flags say; None means the recipe's or the data set's own."""

    specs: tuple[Spec, ...]
    seeds: tuple[int, ...] = (0,)
    data: DataConfig = field(default_factory=DataConfig)
    backbone: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    settings: tuple[Setting, ...] = ()
    augment: str = "batched"
    device: str = "auto"
    precision: str = "auto"
    threads: int = 1
    deterministic: bool = False
    compile: bool = False
    # Another machine does the runs, whose devices cannot be seen from here.
    elsewhere: bool = False

    def check(self) -> None:
        """Raise UsageError for a name or number that cannot be, DataError for a folder that is not there."""
        for spec in self.specs:
            check_names(spec)
        repeated = [str(spec) for spec in self.specs if self.specs.count(spec) > 1]
        if repeated:
            raise UsageError(f"the spec {repeated[0]!r} is given twice")
        check_data(self.data)
        for name, value, known in (
            ("value of --augment", self.augment, AUGMENTS),
            ("device", self.device, DEVICES),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise unknown(name, value, known)
        check_threads(self.threads)
        if self.epochs is not None and self.epochs < 1:
            raise UsageError(f"--epochs must be at least 1, got {self.epochs}")
        if self.batch_size is not None and self.batch_size < 2:
            raise UsageError(f"--batch-size must be at least 2, got {self.batch_size}")


def check_names(spec: Spec) -> None:
    """Raise UsageError for a method or regularizer that does not exist."""
    for kind, part, registry in (("method", spec.method, METHODS), ("regularizer", spec.regularizer, REGULARIZERS)):
        if part.name not in registry:
            raise unknown(kind, part.name, registry, f"dsabench list {kind}s")


def check_data(data: DataConfig) -> None:
    """Raise UsageError for a data set or number that cannot be, DataError for a user's folder that is not there."""
    if data.kind not in DATASETS or (data.place and data.kind not in PLACED):
        if Path(data.name).is_dir():
            raise UsageError(
                f"unknown dataset {data.name!r}; for the folder of that name: "
                f"--dataset imagefolder --data-dir {data.name} --data-name {Path(data.name).name}"
            )
        raise unknown("dataset", data.name, DATASETS, "dsabench list datasets")
    if data.title is not None and data.kind not in USERS_OWN:
        raise UsageError(f"--data-name names images of your own; the data set {data.name!r} has its name")
    if data.kind in USERS_OWN and data.folder is not None and not Path(data.folder).is_dir():
        raise DataError(f"no folder {data.folder}; {DATASETS[data.kind].summary}")
    if data.val_share is not None and not 0 < data.val_share < 1:
        raise UsageError(f"--val-share must lie between 0 and 1, got {data.val_share:g}")
    if data.image_size is not None and data.image_size < 1:
        raise UsageError(f"image size {data.image_size} is not a number of pixels; it must be at least 1")


# More than any machine has; a larger number ends some numerical libraries instead of being refused by them.
MOST_THREADS = 1024


def check_threads(threads: int) -> None:
    """Raise UsageError for a number of threads that no process can have."""
    if not 1 <= threads <= MOST_THREADS:
        cores = os.cpu_count() or 1
        raise UsageError(f"--threads must lie in 1 to {MOST_THREADS}, got {threads}; this machine has {cores} cores")


def parse_settings(texts: Sequence[str]) -> tuple[Setting, ...]:
    """Read `method.KEY=VALUE` and `regularizer.KEY=VALUE`; raises UsageError for anything else."""
    settings = []
    for text in texts:
        target, equals, value = text.partition("=")
        half, dot, key = target.strip().partition(".")
        if not (equals and dot and half in HALVES):
            raise UsageError(f"cannot read --set {text!r}: {_spelled(target.strip(), value.strip())}")
        settings.append(Setting(half, key, parse_value(value.strip())))
    return tuple(settings)


def _spelled(key: str, value: str) -> str:
    """How a setting without its half is written, or how all are."""
    # It imports every method, which only this mistake waits for.
    from dsabench.config.plan import with_option

    owners = with_option(key) if value else []
    if not owners:
        return "expected method.KEY=VALUE or regularizer.KEY=VALUE"
    return f"did you mean --set {' or '.join(f'{one}={value}' for one in owners)}?"
