"""From names and options to modules: the one place where a configuration meets the constructors."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_type_hints

from dsabench import rng
from dsabench.backbones import build_backbone
from dsabench.config import RunConfig
from dsabench.data.spec import Dataset
from dsabench.errors import UsageError
from dsabench.methods import METHODS
from dsabench.registry import Scalar, load
from dsabench.regularizers import REGULARIZERS
from dsabench.types import Method, Recipe, Regularizer, RegularizerFacts

# Keywords of constructors that are facts of the data and not options.
FACTS = ("num_classes", "num_images")


def method_class(name: str) -> type[Method]:
    """A method by name; raises UsageError for an unknown one."""
    found: type[Method] = load(METHODS, "method", name)
    return found


def regularizer_class(name: str) -> type[Regularizer]:
    """A regularizer by name; raises UsageError for an unknown one."""
    found: type[Regularizer] = load(REGULARIZERS, "regularizer", name)
    return found


def recipe(method: str, scale: str) -> Recipe:
    """A method's defaults at an image scale; `large` images take the recipe of `small` ones."""
    recipes: Mapping[str, Recipe] = sys.modules[method_class(method).__module__].RECIPES
    return recipes["tiny" if scale == "tiny" else "small"]


def option_types(target: Any) -> dict[str, type]:
    """The options that a constructor takes: its keyword-only parameters, with their types."""
    types = get_type_hints(target.__init__)
    parameters = inspect.signature(target.__init__).parameters.values()
    options = {p.name: types[p.name] for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    return {name: kind for name, kind in options.items() if name not in FACTS}


def option_defaults(target: Any) -> dict[str, Scalar]:
    """The defaults of a constructor's options, where it has them."""
    parameters = inspect.signature(target.__init__).parameters
    return {
        name: parameters[name].default
        for name in option_types(target)
        if parameters[name].default is not inspect.Parameter.empty
    }


def check_options(owner: str, options: Mapping[str, Scalar], types: Mapping[str, type]) -> None:
    """Raise UsageError for an option that does not exist, or whose value is of another type."""
    for key, value in options.items():
        if key not in types:
            near = get_close_matches(key, types, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(types)) or 'none'}"
            raise UsageError(f"{owner} has no option {key!r}; {hint}")
        kind = types[key]
        fits = isinstance(value, bool) == (kind is bool) and (
            isinstance(value, kind) or (kind is float and isinstance(value, int))
        )
        if not fits:
            name = {bool: "on or off", int: "an integer", float: "a number", str: "a word"}[kind]
            raise UsageError(f"the option {key} of {owner} must be {name}, got {value!r}")


def build_method(config: RunConfig, dataset: Dataset) -> Method:
    """The method at its initialisation, which depends on the seed and not on the regularizer beside it."""
    kind = method_class(config.spec.method.name)
    facts = {"num_classes": len(dataset.classes)} if kind.needs_labels else {}
    with rng.forked(config.seed, "init", "method"):
        backbone = build_backbone(config.backbone, channels=dataset.channels, image_size=dataset.image_size)
        arguments: dict[str, Any] = {**facts, **config.resolved.method}
        try:
            return kind(backbone, backbone.feature_dim, **arguments)
        except ValueError as error:
            raise UsageError(f"{config.method}: {error}") from error


def build_regularizer(config: RunConfig, method: Method, feature_dim: int, dataset: Dataset) -> Regularizer:
    """The regularizer at its initialisation, from draws of its own; raises UsageError for a value out of range."""
    kind: Any = regularizer_class(config.spec.regularizer.name)
    wanted = "num_images" in inspect.signature(kind.__init__).parameters
    facts = {"num_images": len(dataset.train)} if wanted else {}
    arguments: dict[str, Any] = {**facts, **config.resolved.regularizer}
    with rng.forked(config.seed, "init", "regularizer"):
        try:
            built: Regularizer = kind(method.backbone, feature_dim, method.embedding_dim, **arguments)
        except ValueError as error:
            raise UsageError(f"{config.regularizer}: {error}") from error
    return built


def regularizer_options(name: str, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """All options of a regularizer: its constructor's defaults, its name's preset, what was given."""
    return {**option_defaults(regularizer_class(name)), **REGULARIZERS[name].preset, **given}


def facts_of(config: RunConfig) -> RegularizerFacts:
    """Where a run's similarity comes from, and whether labels reach its loss in any way."""
    kind = regularizer_class(config.spec.regularizer.name)
    try:
        facts = kind.facts(config.resolved.regularizer)
    except ValueError as error:
        raise UsageError(f"{config.regularizer}: {error}") from error
    if method_class(config.spec.method.name).needs_labels:
        return facts._replace(labels_used="training")
    return facts
