"""dsabench: how crowded are self-supervised features, and what removes the crowding?

What a training loop of your own may use is imported when it is asked for: every regularizer (`DSA`, `KoLeo`, ...) with
the `MethodOutput` and `Views` that it is called with, `build_backbone`, every metric (`cdnv`, `rankme`, ...) and
`measure`, which computes them together; `Adjuster`, which adjusts features of any model to views and neighbourhoods;
`evaluate(module, data)` gives the rows of a model of your own, `compare(rows)` the paired comparisons of rows, and
`load_backbone(run)` what a run has trained.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dsabench.metrics import METRICS
from dsabench.regularizers import REGULARIZERS

if TYPE_CHECKING:
    from dsabench.adjuster import Adjuster as Adjuster
    from dsabench.backbones import build_backbone as build_backbone
    from dsabench.data.data_config import DataConfig as DataConfig
    from dsabench.evaluation.calls import compare as compare
    from dsabench.evaluation.calls import evaluate as evaluate
    from dsabench.evaluation.calls import frame as frame
    from dsabench.evaluation.calls import load_backbone as load_backbone
    from dsabench.metrics import measure as measure
    from dsabench.regularizers.dsa.bank import DSA as DSA
    from dsabench.regularizers.dsa.nested import NestedDSA as NestedDSA
    from dsabench.types import LabelledViews as LabelledViews
    from dsabench.types import MethodOutput as MethodOutput
    from dsabench.types import Views as Views

__version__ = "0.1.0"

# Where each name lives, as in the registries.
_TARGETS = {
    "Adjuster": "dsabench.adjuster:Adjuster",
    "LabelledViews": "dsabench.types:LabelledViews",
    "MethodOutput": "dsabench.types:MethodOutput",
    "Views": "dsabench.types:Views",
    "DataConfig": "dsabench.data.data_config:DataConfig",
    "build_backbone": "dsabench.backbones:build_backbone",
    "compare": "dsabench.evaluation.calls:compare",
    "evaluate": "dsabench.evaluation.calls:evaluate",
    "frame": "dsabench.evaluation.calls:frame",
    "load_backbone": "dsabench.evaluation.calls:load_backbone",
    "measure": "dsabench.metrics:measure",
    **{name: f"dsabench.metrics:{name}" for name in METRICS},
    **{entry.target.rpartition(":")[2]: entry.target for entry in REGULARIZERS.values()},
}

__all__ = sorted(_TARGETS)


def __getattr__(name: str) -> Any:
    if name not in _TARGETS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _TARGETS[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "import_module"})
