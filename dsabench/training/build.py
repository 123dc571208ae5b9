"""From a configuration to modules: the one place where it meets the constructors."""

from __future__ import annotations

import inspect
from typing import Any

from dsabench import rng
from dsabench.backbones import build_backbone
from dsabench.backbones.base import Backbone
from dsabench.config.options import method_class, regularizer_class
from dsabench.config.run_config import RunConfig
from dsabench.data.dataset import DataFacts
from dsabench.errors import UsageError
from dsabench.methods.base import Method
from dsabench.regularizers.base import Regularizer, RegularizerFacts


def build_method(config: RunConfig, facts: DataFacts, backbone: Backbone | None = None) -> Method:
    """The method at its initialisation, which depends on the seed and not on the regularizer beside it.

    A `backbone` that is given takes the place of the untrained one.
    """
    kind = method_class(config.spec.method.name)
    known = {"num_classes": facts.num_classes} if kind.needs_labels else {}
    if takes_num_images(kind):
        known["num_images"] = facts.num_images
    with rng.forked(config.seed, "init", "method"):
        if backbone is None:
            backbone = build_backbone(config.backbone, channels=facts.channels, image_size=facts.image_size)
        arguments: dict[str, Any] = {**known, **config.resolved.method}
        try:
            return kind(backbone, backbone.feature_dim, **arguments)
        except ValueError as error:
            raise UsageError(f"{config.spec.method}: {error}") from error


def takes_num_images(kind: Any) -> bool:
    """Whether a constructor asks for the number of training images, to keep something of each."""
    return "num_images" in inspect.signature(kind.__init__).parameters


def build_regularizer(config: RunConfig, method: Method, feature_dim: int, facts: DataFacts) -> Regularizer:
    """The regularizer at its initialisation, from draws of its own; raises UsageError for a value out of range."""
    kind: Any = regularizer_class(config.spec.regularizer.name)
    known = {"num_images": facts.num_images} if takes_num_images(kind) else {}
    arguments: dict[str, Any] = {**known, **config.resolved.regularizer}
    with rng.forked(config.seed, "init", "regularizer"):
        try:
            built: Regularizer = kind(method.backbone, feature_dim, method.embedding_dim, **arguments)
        except ValueError as error:
            raise UsageError(f"{config.spec.regularizer}: {error}") from error
    return built


def facts_of(config: RunConfig) -> RegularizerFacts:
    """Where a run's similarity comes from, and whether labels reach its loss in any way."""
    kind = regularizer_class(config.spec.regularizer.name)
    try:
        facts = kind.facts(config.resolved.regularizer)
    except ValueError as error:
        raise UsageError(f"{config.spec.regularizer}: {error}") from error
    if method_class(config.spec.method.name).needs_labels:
        return facts._replace(labels_used="training")
    return facts
