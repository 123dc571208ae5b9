"""What can be said of a name: what it is, its options with their types and defaults, what a search sets, its source."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from dsabench.backbones import BACKBONES, build_backbone, timm_names
from dsabench.config.optimization import OptimizerOptions
from dsabench.config.options import (
    method_class,
    option_defaults,
    option_types,
    recipe,
    regularizer_class,
    regularizer_options,
)
from dsabench.config.plan import DEFAULT_BACKBONE, TRAINING_OPTIONS
from dsabench.config.spaces import space_of
from dsabench.config.spec import format_value
from dsabench.data import DATASETS
from dsabench.errors import UsageError
from dsabench.evaluators import Evaluator
from dsabench.methods import METHODS
from dsabench.metrics import METRICS
from dsabench.probes import PROBES
from dsabench.registry import Scalar, canonical_name, load
from dsabench.regularizers import REGULARIZERS

# The scales that methods have recipes for.
SCALES = ("tiny", "small")
TYPES = {bool: "on or off", int: "integer", float: "number", str: "word"}
# Where a backbone is built to be looked at, in pixels a side, with three channels.
SIZES = (32, 224)


@dataclass(frozen=True)
class Option:
    """An option; `defaults` by image scale, `tiny` (below 32 px) and `small`, None where it must be given.

    `searched` is what `tune` draws it from, empty where that leaves it alone.
    """

    name: str
    type: str
    defaults: Mapping[str, Scalar | None]
    searched: str = ""


@dataclass(frozen=True)
class Description:
    """What there is to say of an entry of a registry; `about` is the documentation of what it names."""

    kind: str
    name: str
    summary: str
    source: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    about: str = ""

    def as_data(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return asdict(self)


def describe(name: str) -> Description | None:
    """The description of a method, regularizer, probe, metric, data set or backbone; None where nothing is called so.

    A timm model without a line of its own in the registry is described too.
    """
    if name in METHODS:
        return describe_method(name)
    if name in REGULARIZERS:
        return describe_regularizer(name)
    for registry in (PROBES, METRICS):
        if name in registry:
            return describe_evaluator(name, registry[name], load(registry, registry[name].kind, name))
    if name in DATASETS:
        return describe_dataset(name)
    return describe_backbone(name)


def describe_method(name: str) -> Description:
    """A method: its own options, then those of how it is trained."""
    kind = method_class(name)
    recipes = {scale: recipe(name, scale) for scale in SCALES}
    own = {option: word(kind) for option, kind in option_types(kind).items()}
    values = {scale: {**option_defaults(kind), **one.options} for scale, one in recipes.items()}
    if kind.trainable:
        # A name that both have, such as the momentum of a teacher and of SGD, is the method's.
        own |= {option: word(type_) for option, type_ in TRAINING_OPTIONS.items() if option not in own}
        for scale, one in recipes.items():
            training = {**asdict(OptimizerOptions(**one.optimizer)), "views": one.views, "epochs": one.epochs}  # type: ignore[arg-type]
            values[scale] = {**training, **values[scale]}
    space = space_of("method", name) if kind.trainable else {}
    return Description(
        kind="method",
        name=name,
        summary=METHODS[name].summary,
        source=paragraph(sys.modules[kind.__module__].__doc__),
        facts={
            "batch size": ", ".join(dict.fromkeys(str(one.batch_size) for one in recipes.values())),
            "labels": "needs them" if kind.needs_labels else "none",
        },
        options=tuple(
            Option(
                option,
                type_,
                {scale: values[scale].get(option) for scale in SCALES},
                str(space[option]) if option in space else "",
            )
            for option, type_ in own.items()
        ),
        about=inspect.getdoc(kind) or "",
    )


def describe_regularizer(name: str) -> Description:
    """A regularizer; a name that stands for another one with options says which."""
    kind, preset = regularizer_class(name), REGULARIZERS[name].preset
    defaults, space = regularizer_options(name, {}), space_of("regularizer", name)
    set_ = ", ".join(f"{option}={format_value(value)}" for option, value in preset.items())
    return Description(
        kind="regularizer",
        name=name,
        summary=REGULARIZERS[name].summary,
        source=paragraph(sys.modules[kind.__module__].__doc__),
        facts={"stands for": f"{canonical_name(REGULARIZERS, name)}[{set_.replace(', ', ',')}]"} if preset else {},
        options=tuple(
            Option(
                option,
                word(type_),
                dict.fromkeys(SCALES, defaults.get(option)),
                str(space[option]) if option in space else "",
            )
            for option, type_ in option_types(kind).items()
        ),
        about=inspect.getdoc(kind) or "",
    )


def describe_evaluator(name: str, entry: Evaluator, function: object) -> Description:
    """A probe or a metric."""
    better = {True: "higher is better", False: "lower is better", None: "neither is better"}
    return Description(
        kind=entry.kind,
        name=name,
        summary=entry.summary,
        source=entry.source,
        facts={
            "in tables": entry.label,
            "direction": better[entry.higher_is_better],
            "tier": f"{entry.tier} ({'measured by default' if entry.tier == 'core' else 'on request'})",
            "reads": ", ".join(entry.needs),
            "cost": entry.cost,
            **({"formula": entry.formula} if entry.formula else {}),
        },
        options=tuple(
            Option(option, word(type(value)), dict.fromkeys(SCALES, value)) for option, value in entry.options.items()
        ),
        about=inspect.getdoc(function) or "",
    )


def describe_dataset(name: str) -> Description:
    """A data set as it is declared; nothing is read or downloaded."""
    spec = load(DATASETS, "dataset", name)
    told = {one.name: getattr(spec, one.name) for one in fields(spec) if one.name not in ("name", "builder")}
    facts = {key.replace("_", " "): written(value) for key, value in told.items() if value is not None}
    if spec.image_size is None:
        facts["image size"] = "the images' own"
    return Description(
        kind="data set",
        name=name,
        summary=DATASETS[name].summary,
        facts=facts,
        about=paragraph(sys.modules[DATASETS[name].target.partition(":")[0]].__doc__),
    )


def describe_backbone(name: str) -> Description | None:
    """A backbone, or any model of timm, with its size for small and for large images; None for an unknown name."""
    if name not in BACKBONES and name not in timm_names():
        return None
    facts = {}
    for size in SIZES:
        try:
            backbone = build_backbone(name, channels=3, image_size=size)
        except UsageError:
            facts[f"at {size} px"] = "does not take such images"
            continue
        parameters = sum(parameter.numel() for parameter in backbone.parameters())
        facts[f"at {size} px"] = f"{parameters:,} parameters, {backbone.feature_dim:,} features"
    scales = [scale for scale, default in DEFAULT_BACKBONE.items() if default == name]
    if scales:
        facts["default for"] = f"{' and '.join(scales)} images"
    return Description("backbone", name, BACKBONES[name].summary if name in BACKBONES else "of timm", facts=facts)


def word(type_: type) -> str:
    """What a value of a type is called."""
    return TYPES.get(type_, type_.__name__)


def written(value: object) -> str:
    """A declared value for people."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def paragraph(text: str | None) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((text or "").partition("\n\n")[0].split())
