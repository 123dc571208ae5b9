"""What a model wants of an image, and the ways in which that is said: a preset, a row's JSON, or a file of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dsabench.config.spec import Part, parse_part
from dsabench.errors import DataError, UsageError, unknown
from dsabench.files import canonical_json, read_json
from dsabench.registry import Scalar

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
CROP_MODES = ("center", "squash", "border")
# Pillow's numbers, which preprocessor_config.json has.
_PILLOW = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}

PRESETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Mean and standard deviation by name, for pixels in [0, 1]; size, interpolation and crop are timm's defaults."""

# ImageNet's, its channels taken for one.
GREY_MEAN, GREY_STD = 0.449, 0.226


def grey_example(image_size: int) -> str:
    """The flag, ready to be pasted, for a model of grey images."""
    values = {"image_size": image_size, "interpolation": "bicubic", "mean": [GREY_MEAN], "std": [GREY_STD]}
    return f"--preprocess '{canonical_json({**values, 'crop_pct': 0.875})}'"


HOW = (
    "--preprocess imagenet[image_size=224,interpolation=bicubic,crop_pct=0.875], or a JSON file; of grey images with "
    f"{grey_example(28)}"
)


class Preprocess(NamedTuple):
    """A model's side in pixels, how images are resized, and the channels' `mean` and `std` for pixels in [0, 1].

    With `crop_pct` an image is resized so that its shorter side is `image_size` / `crop_pct`, and its centre is cut
    out (`crop_mode` center), as timm does it; None is an image as the data set brings it to that size.
    """

    image_size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float | None = None
    crop_mode: str | None = None

    @property
    def channels(self) -> int:
        return len(self.mean)

    def facts(self) -> dict[str, object]:
        """What it holds, without what does not apply."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def __str__(self) -> str:
        return canonical_json(self.facts())


def checked(preprocess: Preprocess) -> Preprocess:
    """The same; raises UsageError for a value that cannot be."""
    size, interpolation, mean, std, crop_pct, crop_mode = preprocess
    if not (isinstance(size, int) and 1 <= size <= 8192):
        raise UsageError(f"image_size must be a whole number of pixels from 1 to 8192, got {size!r}")
    if interpolation not in INTERPOLATIONS:
        raise unknown("interpolation", str(interpolation), INTERPOLATIONS)
    if crop_mode not in CROP_MODES:
        raise unknown("crop_mode", str(crop_mode), CROP_MODES)
    if not (isinstance(crop_pct, int | float) and 0 < crop_pct <= 1):
        raise UsageError(f"crop_pct must lie above 0 and be at most 1, got {crop_pct!r}")
    if len(mean) != len(std) or len(mean) not in (1, 3) or not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise UsageError(f"mean and std must be finite numbers for 1 or 3 channels, std above 0; got {mean} and {std}")
    return preprocess._replace(crop_pct=float(crop_pct))


def parse_preprocess(text: str) -> Preprocess:
    """A preset with options, the JSON of a row's column `preprocess`, or a JSON file.

    Raises UsageError for what cannot be read, DataError for a file that cannot.
    """
    if text.lstrip().startswith("{"):
        try:
            return from_mapping(json.loads(text), "--preprocess")
        except ValueError as error:
            raise UsageError(f"--preprocess {text!r} is not valid JSON: {error}") from error
    if text.endswith(".json"):
        return read_preprocess(Path(text))
    return from_preset(parse_part(text))


def from_preset(part: Part) -> Preprocess:
    """`imagenet[image_size=96]`; raises UsageError for a preset or an option that there is not."""
    if part.name not in PRESETS:
        raise unknown("preset of --preprocess", part.name, PRESETS)
    mean, std = PRESETS[part.name]
    wanted: dict[str, Any] = {"image_size": 224, "interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center"}
    wanted |= {"mean": mean, "std": std}
    for key, value in part.options.items():
        if key not in wanted:
            raise unknown("option of --preprocess", key, wanted)
        wanted[key] = channels_of(value) if key in ("mean", "std") else value
    return checked(Preprocess(**wanted))


def channels_of(value: Scalar) -> tuple[float, ...]:
    """`0.485/0.456/0.406`, or one number for all three."""
    try:
        numbers = tuple(float(part) for part in str(value).split("/"))
        return numbers * 3 if len(numbers) == 1 else numbers
    except ValueError:
        raise UsageError(f"cannot read the channels {value!r}: expected numbers, as in 0.485/0.456/0.406") from None


def read_preprocess(path: Path) -> Preprocess:
    """What a JSON file says: a row's `preprocess`, a preprocessor_config.json, or a config.json of timm.

    Raises DataError where it cannot be read or says something else.
    """
    try:
        return from_mapping(read_json(path), str(path))
    except UsageError as error:
        raise DataError(f"{path}: {error}") from error


def from_mapping(values: Mapping[str, Any], where: str) -> Preprocess:
    """The preprocessing in a mapping of any of the three forms; raises UsageError where it is none, or cannot be."""
    try:
        if "image_size" in values and "mean" in values:
            missing = [key for key in ("interpolation", "std") if key not in values]
            if missing:
                raise UsageError(
                    f"{where} says nothing of {' and '.join(missing)}; it takes image_size, interpolation, mean, std "
                    "(a number each for grey images, three for colour), and may have crop_pct and crop_mode"
                )
            names = {"crop_pct": 1.0, "crop_mode": "center", **values}
            names |= {key: tuple(map(float, values[key])) for key in ("mean", "std")}
            return checked(Preprocess(**names))
        if "image_mean" in values:
            return checked(_from_processor(values, where))
        config = values.get("pretrained_cfg", values)
        if "input_size" in config:
            return from_timm(config)
    except (TypeError, KeyError, AttributeError, ZeroDivisionError, ValueError) as error:
        raise UsageError(
            f"{where} holds a preprocessing that cannot be read ({type(error).__name__}: {error})"
        ) from error
    raise UsageError(f"{where} says nothing of size, mean and std; say it with {HOW}")


def from_timm(config: Mapping[str, Any]) -> Preprocess:
    """The preprocessing of timm's data configuration; raises UsageError for images that are not square."""
    channels, height, width = config["input_size"]
    if height != width:
        raise UsageError(f"the model takes images of {height} x {width}; only square ones are supported")
    mean, std = (tuple(map(float, config[key])) for key in ("mean", "std"))
    wide = {1: channels}.get(len(mean), 1)
    return checked(
        Preprocess(
            int(height), config["interpolation"], mean * wide, std * wide, config["crop_pct"],
            config.get("crop_mode") or "center",
        )
    )  # fmt: skip


def _from_processor(values: Mapping[str, Any], where: str) -> Preprocess:
    """A preprocessor_config.json, as image processors of transformers write it."""
    factor = values.get("rescale_factor", 1 / 255)
    if values.get("do_rescale") is False or abs(factor * 255 - 1) > 1e-6:
        raise UsageError(f"{where} does not rescale pixels to [0, 1] (rescale_factor {factor}), which is not supported")
    plain = values.get("do_normalize") is False
    mean = tuple(0.0 for _ in values["image_mean"]) if plain else tuple(map(float, values["image_mean"]))
    std = tuple(1.0 for _ in values["image_std"]) if plain else tuple(map(float, values["image_std"]))
    interpolation = _PILLOW[values.get("resample", 2)]
    resized, crop = values["size"], values.get("crop_size")
    edge = resized if isinstance(resized, int) else resized.get("shortest_edge") or resized["height"]
    squash = not isinstance(resized, int) and "shortest_edge" not in resized
    if values.get("do_center_crop") and crop is not None:
        side = crop if isinstance(crop, int) else crop["height"]
        return Preprocess(int(side), interpolation, mean, std, side / edge, "squash" if squash else "center")
    if squash or isinstance(resized, int):
        return Preprocess(int(edge), interpolation, mean, std, 1.0, "squash")
    if "crop_pct" not in values:
        raise UsageError(f"{where} resizes without a crop, so that images keep many shapes; say it with {HOW}")
    return Preprocess(int(edge), interpolation, mean, std, values["crop_pct"], "center")
