"""From what a user asks for to complete configurations: options placed and checked, every default filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

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
from dsabench.config.request import Request, Setting
from dsabench.config.run_config import Resolved, RunConfig
from dsabench.config.spec import Part, Spec
from dsabench.data.data_config import USERS_OWN, DataConfig
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


def plan(request: Request, dataset: Dataset) -> list[RunConfig]:
    """The runs of every spec and seed of a checked request, seed by seed so that pairs are complete early.

    Raises UsageError for a wrong option or number; nothing is written.
    """
    for spec in request.specs:
        check_spec(spec)
    specs = apply_settings(request.specs, request.settings)
    device = request.device if request.elsewhere else resolve_device(request.device)
    planned = [configure(request, spec, seed, dataset, device) for seed in request.seeds for spec in specs]
    known: dict[str, RunConfig] = {}
    for config in planned:
        twin = known.setdefault(config.config_hash, config)
        if twin is not config:
            raise UsageError(f"the specs {str(twin.spec)!r} and {str(config.spec)!r} are the same run")
    return planned


def check_spec(spec: Spec) -> None:
    """Raise UsageError for an option that does not exist, or halves that do not go together."""
    method, regularizer = method_class(spec.method.name), regularizer_class(spec.regularizer.name)
    check_options(spec.method.name, spec.method.options, option_types(method) | TRAINING_OPTIONS)
    check_options(spec.regularizer.name, spec.regularizer.options, option_types(regularizer))
    if not method.trainable and spec.regularizer != Part("none"):
        raise UsageError(f"{spec.method.name!r} is not trained, so {spec.regularizer.name!r} has nothing to act on")


def apply_settings(specs: Sequence[Spec], settings: Iterable[Setting]) -> list[Spec]:
    """Give each setting to the specs that have that option; what a spec says itself wins.

    Raises UsageError, with the nearest option, where no spec has it.
    """
    done = list(specs)
    for setting in settings:
        known, placed = set[str](), False
        for position, spec in enumerate(done):
            part: Part = getattr(spec, setting.half)
            types = half_options(setting.half, part.name)
            known |= types.keys()
            if setting.key in types:
                placed = True
                options = {setting.key: setting.value, **part.options}
                check_options(part.name, options, types)
                done[position] = dataclasses.replace(spec, **{setting.half: Part(part.name, options)})
        if not placed:
            hint = option_hint(setting.half, setting.key, known)
            raise UsageError(f"none of the specs has the option {setting.half}.{setting.key}; {hint}")
    return done


def option_hint(half: str, key: str, known: Iterable[str]) -> str:
    """What to do about an option that no spec has: the nearest that one has, or what does have it."""
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {half}.{near[0]}?"
    owners = [name for name in (METHODS if half == "method" else REGULARIZERS) if key in half_options(half, name)]
    return f"these have it: {', '.join(owners)}" if owners else f"they have: {', '.join(sorted(known)) or 'none'}"


def with_option(key: str) -> list[str]:
    """The options of this name as --set spells them: `method.KEY`, `regularizer.KEY`, both or none."""
    registries = {"method": METHODS, "regularizer": REGULARIZERS}
    return [
        f"{half}.{key}"
        for half, registry in registries.items()
        if any(key in half_options(half, name) for name in registry)
    ]


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
    data = identified(request.data, dataset)
    config = RunConfig(
        data=data,
        spec=spec,
        backbone=request.backbone or DEFAULT_BACKBONE[dataset.scale],
        epochs=epochs if method.trainable else 0,
        batch_size=batch_size,
        seed=seed,
        device=device,  # type: ignore[arg-type]
        precision=resolve_precision(request.precision, device, elsewhere=request.elsewhere),  # type: ignore[arg-type]
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


def beside_defaults(request: Request, dataset: Dataset) -> list[str]:
    """What sets the runs of a request apart from those of its specs under the defaults of its data set, in short words.

    A default of the recipes that is spelled out is none of it; seeds and threads are not, either.
    """
    trained = [one.method.name for one in request.specs if method_class(one.method.name).trainable]
    recipes = [recipe(name, dataset.scale) for name in trained]
    data, device = request.data, request.device if request.elsewhere else resolve_device(request.device)
    usual = resolve_precision("auto", device, elsewhere=request.elsewhere)
    epochs, batch_size = request.epochs, request.batch_size
    words = (
        (f"{request.backbone}", request.backbone not in (None, DEFAULT_BACKBONE[dataset.scale])),
        (f"{epochs}-epochs", epochs is not None and any(one.epochs != epochs for one in recipes)),
        (f"batch-{batch_size}", batch_size is not None and any(one.batch_size != batch_size for one in recipes)),
        (f"{data.train_images}-images", data.train_images is not None),
        (f"{data.subset}", data.subset is not None),
        (f"{data.image_size}-px", data.image_size is not None),
        (f"val-{data.val_share}", data.val_share is not None),
        (f"{data.group_by}", data.group_by is not None),
        (f"{data.contaminate}", data.contaminate is not None),
        (f"{request.augment}-views", request.augment != "batched"),
        (f"{request.precision}", request.precision not in ("auto", usual)),
    )
    return [word for word, departs in words if departs]


def identified(data: DataConfig, dataset: Dataset) -> DataConfig:
    """The data of a run, named by its content where its name does not say what is in it, wherever it lies now."""
    return data.model_copy(update={"content": dataset.sha256 if data.kind in USERS_OWN else None})


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
        raise UsageError(f"{config.spec.regularizer} needs batches of at least {smallest_batch} images, got {batch}")
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


def resolve_precision(name: str, device: str, *, elsewhere: bool = False) -> str:
    """`bf16` on CUDA devices that have it and `fp32` elsewhere for `auto`; raises UsageError for another name.

    A GPU of another machine is taken to have it: those of the last years do.
    """
    if name == "auto":
        return "bf16" if device == "cuda" and (elsewhere or torch.cuda.is_bf16_supported()) else "fp32"
    if name not in ("fp32", "bf16"):
        raise unknown("precision", name, ("auto", "fp32", "bf16"))
    return name
