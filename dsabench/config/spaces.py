"""Search spaces: which options a search of a method or a regularizer sets, and between which values."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dsabench.config.spec import Spec
from dsabench.errors import DataError, UsageError, unknown
from dsabench.methods import METHODS
from dsabench.registry import Scalar, canonical_name
from dsabench.regularizers import REGULARIZERS

# What is searched is written down, so it is rounded to what a person would write.
DIGITS = 3


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both included, whole numbers where the option is one; `log` draws magnitudes evenly.

    With `times` the ends count in the recipe's own value, so that one line serves every scale and optimiser. Raises
    ValueError for ends that cannot be.
    """

    low: float
    high: float
    log: bool = False
    times: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 where log is set, got {self.low}")

    def around(self, default: Scalar) -> Range:
        """The ends themselves, of the type of the `default`; raises ValueError where it has no multiples."""
        if isinstance(default, bool | str):
            raise ValueError(f"{default!r} is no number; give its choices")
        if self.times and default <= 0:
            raise ValueError(f"{default!r} has no multiples; give the ends themselves")
        low, high = (tidy(end * default if self.times else end) for end in (self.low, self.high))
        return Range(round(low), round(high), self.log) if isinstance(default, int) else Range(low, high, self.log)

    def nearest(self, value: Scalar) -> Scalar:
        """The value rounded to what a person would write, between the ends."""
        return min(max(tidy(value), self.low), self.high) if isinstance(value, float) else value

    def holds(self, value: Scalar) -> bool:
        """Whether a value lies between the ends."""
        return not isinstance(value, bool | str) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{' times the recipe' if self.times else ''}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """One of these values; raises ValueError for fewer than two."""

    choices: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if len(set(map(repr, self.choices))) < 2:
            raise ValueError(f"choices must be two or more values, got {list(self.choices)}")

    def around(self, default: Scalar) -> Choice:
        """The choices are the same whatever the default is."""
        return self

    def nearest(self, value: Scalar) -> Scalar:
        """The value itself."""
        return value

    def holds(self, value: Scalar) -> bool:
        """Whether a value is among them."""
        return value in self.choices

    def __str__(self) -> str:
        return " or ".join(map(str, self.choices))


Dimension = Range | Choice
Space = Mapping[str, Dimension]


def tidy(value: float) -> float:
    """The value to three significant digits."""
    return float(f"{value:.{DIGITS}g}")


# Of every method that is trained, also of one without a line below.
OPTIMIZATION: Space = {
    "lr": Range(0.25, 10, log=True, times=True),
    "weight_decay": Range(0.1, 100, log=True, times=True),
}
TEMPERATURE = Range(0.05, 2, log=True)
# The momentum of an EMA teacher.
TEACHER = Choice((0.8, 0.9, 0.97, 0.99, 0.996))

METHOD_SPACES: Mapping[str, Space] = {
    "simclr": {**OPTIMIZATION, "temperature": TEMPERATURE},
    "dcl": {**OPTIMIZATION, "temperature": TEMPERATURE},
    "moco_v2": {**OPTIMIZATION, "temperature": TEMPERATURE},
    "moco_v3": {**OPTIMIZATION, "temperature": TEMPERATURE, "momentum": TEACHER},
    "nnclr": {**OPTIMIZATION, "temperature": TEMPERATURE},
    "ressl": {
        **OPTIMIZATION,
        "temperature": Range(0.05, 0.5, log=True),
        "teacher_temperature": Range(0.02, 0.1, log=True),
    },
    "simsiam": {**OPTIMIZATION, "predictor_dim": Range(0.25, 2, log=True, times=True)},
    "byol": {**OPTIMIZATION, "momentum": TEACHER},
    "barlow_twins": {**OPTIMIZATION, "lambda_param": Range(1e-3, 0.1, log=True)},
    "vicreg": {**OPTIMIZATION, "sim_weight": Range(2.5, 100, log=True), "cov_weight": Range(0.1, 10, log=True)},
    "vibcreg": {**OPTIMIZATION, "sim_weight": Range(2.5, 100, log=True), "cov_weight": Range(20, 2000, log=True)},
    "tico": {**OPTIMIZATION, "rho": Range(1, 64, log=True), "momentum": TEACHER},
    "w_mse": {**OPTIMIZATION, "slicings": Range(1, 8)},
    "swav": {**OPTIMIZATION, "temperature": Range(0.05, 0.5, log=True), "epsilon": Range(0.02, 0.1, log=True)},
    "mmcr": {**OPTIMIZATION, "lmda": Range(0, 0.1)},
    "lejepa": {**OPTIMIZATION, "lambda_param": Range(0.005, 0.5, log=True)},
    "mean_shift": {**OPTIMIZATION, "k": Range(1, 20), "momentum": TEACHER},
    "resa": {**OPTIMIZATION, "temperature": Range(0.1, 1, log=True), "epsilon": Range(0.02, 0.2, log=True)},
    "dino": {
        **OPTIMIZATION,
        "student_temperature": Range(0.05, 0.5, log=True),
        "teacher_temperature": Range(0.03, 0.1, log=True),
    },
    "supcon_kmeans": {**OPTIMIZATION, "temperature": TEMPERATURE, "clusters": Range(0.25, 4, log=True, times=True)},
    "supcon": {**OPTIMIZATION, "temperature": TEMPERATURE},
    "supervised": {**OPTIMIZATION, "label_smoothing": Range(0, 0.2)},
    # What is not trained has nothing to search.
    "random": {},
}

_LAMBDA1, _START = Range(0.5, 50, log=True), Range(0, 0.6)

# A variant without a line has that of the name that it is a preset of, less what the preset fixes.
REGULARIZER_SPACES: Mapping[str, Space] = {
    "none": {},
    # Drawing, which costs where neighbours are wrong, is switched on by who wants it, and by no search.
    "dsa": {"spread": Range(0.003, 0.3, log=True)},
    "dsa-nested": {"lambda1": _LAMBDA1, "k": Range(8, 40), "start": _START},
    # Their similarity reads no neighbourhoods.
    "dsa-oracle": {"lambda1": _LAMBDA1, "start": _START},
    "dsa-constant": {"lambda1": _LAMBDA1, "start": _START},
    "dsa-exponential": {"lambda1": _LAMBDA1, "prior_temperature": Range(0.1, 2, log=True), "start": _START},
    "dsa-reference": {"lambda1": Range(0.1, 50, log=True), "temperature": Range(0.1, 2, log=True), "eta": Range(5, 40)},
    "koleo": {"weight": Range(0.01, 10, log=True)},
    "sigreg": {"weight": Range(0.005, 1, log=True)},
    "visreg": {"weight": Range(0.01, 1, log=True)},
}

# By half and name: what `--space` gives in place of the tables above.
Overrides = Mapping[tuple[str, str], Space]
NO_OVERRIDES: Overrides = MappingProxyType({})


def space_of(half: str, name: str, overrides: Overrides = NO_OVERRIDES) -> Space:
    """The space of a method or a regularizer by its name."""
    if (half, name) in overrides:
        return overrides[half, name]
    if half == "method":
        return METHOD_SPACES.get(name, OPTIMIZATION)
    if name in REGULARIZER_SPACES:
        return REGULARIZER_SPACES[name]
    preset, whole = REGULARIZERS[name].preset, canonical_name(REGULARIZERS, name)
    inherited = overrides.get((half, whole), REGULARIZER_SPACES.get(whole, {}))
    return {option: dimension for option, dimension in inherited.items() if option not in preset}


def dimensions(spec: Spec, overrides: Overrides = NO_OVERRIDES) -> dict[str, Dimension]:
    """What a search of a spec sets, as `method.lr`, `regularizer.k`: both halves together.

    What the spec says itself is fixed.
    """
    return {
        f"{half}.{option}": dimension
        for half, part in (("method", spec.method), ("regularizer", spec.regularizer))
        for option, dimension in space_of(half, part.name, overrides).items()
        if option not in part.options
    }


def all_spaces() -> dict[tuple[str, str], Space]:
    """The space of every method and regularizer that has something to search, by half and name."""
    names = [("method", name) for name in METHODS] + [("regularizer", name) for name in REGULARIZERS]
    return {(half, name): space for half, name in names if (space := space_of(half, name))}


def read_spaces(path: Path) -> dict[tuple[str, str], Space]:
    """Read `[method.NAME]` and `[regularizer.NAME]` of a TOML file; each replaces the whole space of that name.

    An option is `{low = 0.1, high = 10, log = true, times = false}` or `{choices = [10, 20]}`. Raises DataError where
    the file cannot be read, UsageError for what is no space.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the spaces {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"the spaces {path} are not valid TOML: {error}") from error
    spaces: dict[tuple[str, str], Space] = {}
    for half, tables in content.items():
        if half not in ("method", "regularizer") or not isinstance(tables, dict):
            raise UsageError(f"unknown table {half!r} in {path}; expected [method.NAME] and [regularizer.NAME]")
        registry = METHODS if half == "method" else REGULARIZERS
        for name, options in tables.items():
            if name not in registry or not isinstance(options, dict):
                raise unknown(half, name, registry, f"dsabench list {half}s")
            spaces[half, name] = {option: _dimension(path, option, value) for option, value in options.items()}
    return spaces


def _dimension(path: Path, option: str, value: Any) -> Dimension:
    expected = "expected {low = 0.1, high = 10, log = true} or {choices = [10, 20]}"
    if not isinstance(value, dict):
        raise UsageError(f"cannot read {option!r} in {path}: {expected}")
    numbers = [value.get(end) for end in ("low", "high")]
    switches = [value.get(switch, False) for switch in ("log", "times")]
    try:
        if value.keys() == {"choices"} and isinstance(value["choices"], list):
            if all(isinstance(one, bool | int | float | str) for one in value["choices"]):
                return Choice(tuple(value["choices"]))
        elif (
            value.keys() <= {"low", "high", "log", "times"}
            and all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
            and all(isinstance(switch, bool) for switch in switches)
        ):
            return Range(**value)
    except ValueError as error:
        raise UsageError(f"cannot read {option!r} in {path}: {error}") from error
    raise UsageError(f"cannot read {option!r} in {path}: {expected}")


def as_data(dimension: Dimension) -> dict[str, object]:
    """A dimension as a file of spaces would give it."""
    return asdict(dimension)
