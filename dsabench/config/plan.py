"""From what a user asks for to complete configurations: names checked, options placed, every default filled in."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import torch

from dsabench.config.optimization import OptimizerOptions
from dsabench.config.options import (
    check_options,
    method_class,
    option_types,
    recipe,
    regularizer_class,
    regularizer_options,
)
from dsabench.config.run_config import Resolved, RunConfig
from dsabench.config.spec import Part, Spec, parse_spec, parse_value
from dsabench.data import load_dataset
from dsabench.data.dataset import Dataset
from dsabench.data.loader import steps_per_epoch
from dsabench.data.views.policies import POLICIES
from dsabench.errors import UsageError, unknown
from dsabench.methods import METHODS
from dsabench.registry import Scalar
from dsabench.regularizers import REGULARIZERS

# Options of a spec's method half that are not its constructor's: how this arm is trained.
TRAINING_OPTIONS: dict[str, type] = {
    **{field.name: type(field.default) for field in dataclasses.fields(OptimizerOptions)},
    "views": str,
    "epochs": int,
}

DEFAULT_BACKBONE = {"tiny": "resnet8", "small": "resnet18", "large": "resnet18"}

# How views are computed: whole batches on the run's device, or image by image through torchvision.
AUGMENTS = ("batched", "reference")


@dataclass(frozen=True)
class Request:
    """What the flags say, but for specs and seeds; None means the recipe's or the data set's own."""

    dataset: str = "digits"
    data_dir: Path | None = None
    data_name: str | None = None
    train_images: int | None = None
    image_size: int | None = None
    backbone: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    threads: int = 1
    deterministic: bool = False
    offline: bool = False
    settings: tuple[str, ...] = ()
    augment: str = "batched"
    compile: bool = False


@functools.lru_cache(maxsize=1)
def dataset_of(
    name: str, data_dir: Path | None, train_images: int | None, image_size: int | None, offline: bool
) -> Dataset:
    """A data set, kept for the next run of this process."""
    return load_dataset(name, data_dir=data_dir, train_images=train_images, image_size=image_size, offline=offline)


def requested_dataset(request: Request) -> Dataset:
    """The data set of a request."""
    return dataset_of(request.dataset, request.data_dir, request.train_images, request.image_size, request.offline)


def configured_dataset(config: RunConfig, *, data_dir: Path | None = None, offline: bool = False) -> Dataset:
    """The data set of a run, from where it lay when the run was made, or from `data_dir`."""
    folder = data_dir or (Path(config.data_dir) if config.data_dir else None)
    return dataset_of(config.dataset, folder, config.train_images, config.image_size, offline)


def plan(request: Request, specs: Sequence[str], seeds: Sequence[int]) -> list[RunConfig]:
    """The runs of every spec and seed, seed by seed so that pairs are complete early.

    Raises UsageError for a wrong name, option or number, DataError for data that are not there; nothing is written.
    """
    parsed = [parse_spec(text) for text in specs]
    for spec in parsed:
        check_names(spec)
    if request.data_name is not None and request.dataset != "imagefolder":
        raise UsageError(f"--data-name names a folder of images; the data set {request.dataset!r} has its name")
    if request.threads < 1:
        raise UsageError(f"--threads must be at least 1, got {request.threads}")
    if request.augment not in AUGMENTS:
        raise unknown("value of --augment", request.augment, AUGMENTS)
    parsed = apply_settings(parsed, request.settings)
    repeated = [str(spec) for spec in parsed if parsed.count(spec) > 1]
    if repeated:
        raise UsageError(f"the spec {repeated[0]!r} is given twice")
    device = resolve_device(request.device)
    dataset = requested_dataset(request)
    return [configure(request, spec, seed, dataset, device) for seed in seeds for spec in parsed]


def check_names(spec: Spec) -> None:
    """Raise UsageError for a method, regularizer or option that does not exist, or halves that do not go together."""
    method, regularizer = method_class(spec.method.name), regularizer_class(spec.regularizer.name)
    check_options(spec.method.name, spec.method.options, option_types(method) | TRAINING_OPTIONS)
    check_options(spec.regularizer.name, spec.regularizer.options, option_types(regularizer))
    if not method.trainable and spec.regularizer != Part("none"):
        raise UsageError(f"{spec.method.name!r} is not trained, so {spec.regularizer.name!r} has nothing to act on")


def apply_settings(specs: Sequence[Spec], settings: Iterable[str]) -> list[Spec]:
    """Give `method.KEY=VALUE` and `regularizer.KEY=VALUE` to the specs that have that option.

    What a spec says itself wins. Raises UsageError, with the nearest option, where no spec has it.
    """
    done = list(specs)
    for setting in settings:
        target, equals, text = setting.partition("=")
        half, dot, key = target.strip().partition(".")
        if not (equals and dot and half in ("method", "regularizer")):
            raise UsageError(f"cannot read --set {setting!r}: expected method.KEY=VALUE or regularizer.KEY=VALUE")
        value, known, placed = parse_value(text.strip()), set[str](), False
        for position, spec in enumerate(done):
            part: Part = getattr(spec, half)
            types = half_options(half, part.name)
            known |= types.keys()
            if key in types:
                placed = True
                options = {key: value, **part.options}
                check_options(part.name, options, types)
                done[position] = dataclasses.replace(spec, **{half: Part(part.name, options)})
        if not placed:
            raise UsageError(f"none of the specs has the option {half}.{key}; {option_hint(half, key, known)}")
    return done


def option_hint(half: str, key: str, known: Iterable[str]) -> str:
    """What to do about an option that no spec has: the nearest that one has, or what does have it."""
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {half}.{near[0]}?"
    owners = [name for name in (METHODS if half == "method" else REGULARIZERS) if key in half_options(half, name)]
    return f"these have it: {', '.join(owners)}" if owners else f"they have: {', '.join(sorted(known)) or 'none'}"


def half_options(half: str, name: str) -> dict[str, type]:
    """The options that a spec's half may have."""
    if half == "regularizer":
        return option_types(regularizer_class(name))
    # What is not trained has no use for a learning rate.
    method = method_class(name)
    return option_types(method) | (TRAINING_OPTIONS if method.trainable else {})


def configure(request: Request, spec: Spec, seed: int, dataset: Dataset, device: str) -> RunConfig:
    """One run, every default filled in from the method's recipe at the scale of the images."""
    method, regularizer = method_class(spec.method.name), regularizer_class(spec.regularizer.name)
    defaults = recipe(spec.method.name, dataset.scale)
    given = spec.method.options
    # A name that both have, such as the momentum of a teacher and of SGD, is the method's.
    training = OptimizerOptions.__dataclass_fields__.keys() - option_types(method)
    optimizer: Mapping[str, Scalar] = {**defaults.optimizer, **pick(given, training)}
    try:
        options = OptimizerOptions(**optimizer)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(f"{spec.method.name}: {error}") from error
    views = str(given.get("views", defaults.views))
    if views not in POLICIES:
        raise unknown("view policy", views, POLICIES)
    epochs = int(given.get("epochs", defaults.epochs if request.epochs is None else request.epochs))
    batch_size = defaults.batch_size if request.batch_size is None else request.batch_size
    config = RunConfig(
        dataset=request.dataset,
        data_dir=str(request.data_dir.resolve()) if request.data_dir else None,
        data_name=request.data_name,
        train_images=request.train_images,
        image_size=request.image_size,
        method=str(spec.method),
        regularizer=str(spec.regularizer),
        backbone=request.backbone or DEFAULT_BACKBONE[dataset.scale],
        epochs=epochs if method.trainable else 0,
        batch_size=batch_size,
        seed=seed,
        device=device,  # type: ignore[arg-type]
        precision=resolve_precision(request.precision, device),  # type: ignore[arg-type]
        threads=request.threads,
        # One thread count on one machine computes the same bits on a CPU; a GPU does where it is told to.
        deterministic=request.deterministic or device == "cpu",
        augment="reference" if request.augment == "reference" else None,
        compile=request.compile or None,
        resolved=Resolved(
            method={**defaults.options, **pick(given, option_types(method))},
            regularizer=regularizer_options(spec.regularizer.name, spec.regularizer.options),
            optimizer=dataclasses.asdict(options) if method.trainable else {},
            views=views,
        ),
    )
    check_numbers(config, dataset, regularizer.smallest_batch)
    return config


def pick(options: Mapping[str, Scalar], names: Iterable[str]) -> dict[str, Scalar]:
    """The options of these names."""
    return {name: options[name] for name in names if name in options}


def check_numbers(config: RunConfig, dataset: Dataset, smallest_batch: int) -> None:
    """Raise UsageError for an epoch count or batch size that cannot be trained with."""
    if config.epochs < 0 or (config.epochs == 0 and method_class(config.spec.method.name).trainable):
        raise UsageError(f"--epochs must be at least 1, got {config.epochs}")
    if config.batch_size < 2:
        raise UsageError(f"--batch-size must be at least 2, got {config.batch_size}")
    batch = min(config.batch_size, len(dataset.train))
    if batch < smallest_batch:
        raise UsageError(f"{config.regularizer} needs batches of at least {smallest_batch} images, got {batch}")
    steps_per_epoch(len(dataset.train), config.batch_size)


def resolve_device(name: str) -> str:
    """`cuda`, `mps` or `cpu` for `auto`; raises UsageError for a device that is not there."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(device for device, there in available.items() if there)
    if name not in available:
        raise unknown("device", name, ["auto", *available])
    if not available[name]:
        raise UsageError(f"the device {name!r} is not available here; use --device auto")
    return name


def resolve_precision(name: str, device: str) -> str:
    """`bf16` on CUDA devices that have it and `fp32` elsewhere for `auto`; raises UsageError for another name."""
    if name == "auto":
        return "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if name not in ("fp32", "bf16"):
        raise unknown("precision", name, ("auto", "fp32", "bf16"))
    return name
