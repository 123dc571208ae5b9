"""What to measure, on what and where: the frozen configuration of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from dsabench.config.request import DEVICES, check_data, check_threads
from dsabench.config.spec import Part, parse_part
from dsabench.data.data_config import DataConfig
from dsabench.errors import UsageError, unknown
from dsabench.registry import Scalar
from dsabench.regularizers import BY, VIEWS

SPLITS = ("test", "val")

# Layers that any encoder has: the raw images in [0, 1], flattened, the floor under every learned feature; a layer
# averaged with its nearest training neighbours, which is what aggregation gives without training; a layer whose
# principal axes are evened out, which is what spreading gives; and one adjusted to its neighbourhoods, as dsa does it.
PIXELS = "pixels"
SMOOTH = "smooth"
WHITEN = "whiten"
ADJUST = "adjust"
# Every stage of the backbone and what is behind it, read in one forward pass: a layer each.
ALL = "all"
# What a method has: its backbone, and the projector on top of it.
RUN_LAYERS = ("backbone", "projector")

# Layers that are made of another one after training, with their options.
POSTHOC: Mapping[str, Mapping[str, Scalar]] = MappingProxyType(
    {
        SMOOTH: MappingProxyType({"k": 20, "layer": "backbone", "times": 1}),
        ADJUST: MappingProxyType({"by": VIEWS, "k": 8, "layer": "backbone"}),
        WHITEN: MappingProxyType({"layer": "backbone", "power": 0.5}),
    }
)


@dataclass(frozen=True)
class EvalConfig:
    """`probes` and metrics as words, with options, on `layers` of an encoder, scored on `split` of `data`.

    `probes` may hold `crowding`, which stands for all metrics of the core tier. `precision` is that of the forward
    pass; `modules` says that a layer may be any module of a model, such as `blocks.8`. None of `data` is the encoder's
    own; None of `device` and `threads` what it was trained with, as far as that is there.
    """

    probes: tuple[str, ...]
    data: DataConfig | None = None
    layers: tuple[Part, ...] = (Part("backbone"),)
    split: str = "test"
    device: str | None = None
    threads: int | None = None
    precision: str = "fp32"
    modules: bool = False

    def check(self) -> None:
        """Raise UsageError for a name that does not exist, DataError for a folder that is not there.

        The names of probes are checked where they are looked up, by `dsabench.evaluation.words.asked`.
        """
        for layer in self.layers:
            if layer != Part(ALL):
                check_layer(layer, modules=self.modules)
        for kind, value, known in (("split", self.split, SPLITS), ("precision", self.precision, ("fp32", "bf16"))):
            if value not in known:
                raise unknown(kind, value, known)
        if self.device is not None and self.device not in DEVICES:
            raise unknown("device", self.device, DEVICES)
        if self.threads is not None:
            check_threads(self.threads)
        if self.data is not None:
            check_data(self.data)

    def also(self, *probes: str) -> EvalConfig:
        """The same with these among what it measures."""
        return replace(self, probes=(*self.probes, *(probe for probe in probes if probe not in self.probes)))


def check_layer(layer: Part, *, modules: bool = False) -> None:
    """Raise UsageError for a layer that no run has, or whose options are not those of its kind.

    With `modules` any name may be a layer: the model that has it, or has not, is not there yet.
    """
    known = (*RUN_LAYERS, PIXELS, *POSTHOC)
    if layer.name not in known and not modules:
        raise unknown("layer", layer.name, known)
    allowed = POSTHOC.get(layer.name, {})
    for key, value in layer.options.items():
        if key not in allowed:
            raise UsageError(f"the layer {layer.name!r} has no option {key!r}; it has {', '.join(allowed) or 'none'}")
        kind, fits = {
            str: ((" or ".join(BY), value in BY) if key == "by" else ("a layer's name", isinstance(value, str))),
            int: ("a whole number of at least 1", type(value) is int and value >= 1),
            float: ("a number above 0, at most 1", type(value) in (int, float) and 0 < float(value) <= 1),
        }[type(allowed[key])]
        if not fits:
            raise UsageError(f"the option {key} of the layer {layer.name} must be {kind}, got {value!r}")


def led_by(layers: tuple[Part, ...], leading: Part) -> tuple[Part, ...]:
    """The layers with the one that carries a verdict first; raises UsageError where it is not among them."""
    if Part(ALL) in layers:
        raise UsageError("--layer all is for eval; a comparison names its layers")
    if leading not in layers:
        named = ", ".join(map(str, layers))
        raise UsageError(
            f"the verdict is on the layer {leading}, and --layer asks for {named} alone; add --layer '{leading}', or "
            f"declare another with --primary METRIC@{layers[0]}"
        )
    return (leading, *(layer for layer in layers if layer != leading))


def parse_parts(texts: tuple[str, ...] | list[str]) -> tuple[Part, ...]:
    """`knn`, `knn[k=5]`, `smooth[k=20]`: read, each once."""
    return tuple(dict.fromkeys(map(parse_part, texts)))
