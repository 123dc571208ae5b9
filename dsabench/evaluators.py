"""Evaluators: what the entries of probes and metrics say of themselves, without importing what computes them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from dsabench.registry import Scalar

# The metrics are the values of one probe of this name, in the rows and as the word that asks for the core ones.
CROWDING = "crowding"


class Evaluator(NamedTuple):
    """A probe or a metric: where it lives (`"module:attribute"`), what it is, and what it takes.

    A probe is a function `(train, val, test, *, seed, **options) -> ProbeResult` of `Features`; a metric is a
    `dsabench.metrics.samples.Metric` of the features and classes of the split that is scored. `label` is what tables
    call it, `higher_is_better` None where neither direction is better, `source` an arXiv id or a citation.
    `tier` is `core` for what runs by default and makes up the declared Holm family, `extra` for what runs on request
    and moves no p value. `needs` names what is read: the features of `train`, `val` and `test`, the `encoder`, `views`,
    `images`; a probe that needs more than features takes `subject`, a `dsabench.evaluation.subject.Subject`, too.
    `options` holds the options with their defaults; a number among them must be above 0. `formula` says in a line what
    is computed, and `cost` how the time grows, as the docstring does: with N samples, K of them where pairs are looked
    at, M test samples, D dimensions and C classes.
    """

    target: str
    summary: str
    label: str
    higher_is_better: bool | None
    source: str
    kind: Literal["probe", "metric"]
    needs: tuple[str, ...]
    tier: Literal["core", "extra"] = "core"
    options: Mapping[str, Scalar] = MappingProxyType({})
    formula: str = ""
    cost: str = ""

    def column(self, name: str) -> str:
        """What the rows of this evaluator, registered as `name`, have in their column `probe`."""
        return name if self.kind == "probe" else CROWDING
