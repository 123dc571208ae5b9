"""Sources of features that no run here made, as they are asked for: read and checked without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dsabench.config.preprocess import Preprocess, parse_preprocess
from dsabench.errors import DataError, UsageError, unknown

POOLINGS = ("model", "cls", "mean", "cls+mean")
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._@-]*)=(?P<rest>.+)", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """One arm that is not a run: what tables call it, and where its features come from.

    `place` is a name of timm, or a file or folder. `backbone` is the architecture of a checkpoint and `weights` the
    wrappers and prefix under which its weights lie, where several fit; None of `preprocess` is the model's own;
    `labels` is a CSV file beside embeddings.
    """

    kind: Literal["timm", "checkpoint", "features"]
    name: str
    place: str
    backbone: str | None = None
    preprocess: Preprocess | None = None
    pooling: str = "model"
    weights: str | None = None
    labels: Path | None = None


def parse_sources(
    *,
    timm: Sequence[str] = (),
    checkpoint: Sequence[str] = (),
    features: Sequence[str] = (),
    backbone: Sequence[str] = (),
    preprocess: Sequence[str] = (),
    pooling: Sequence[str] = (),
    weights: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> tuple[Source, ...]:
    """The arms that flags ask for, timm's models first, then checkpoints, then embeddings, each `SOURCE` or
    `NAME=SOURCE`; what is said of them is `VALUE` for all or `NAME=VALUE` for one.

    Raises UsageError for a name that is given twice or does not exist, DataError for a file that is not there.
    """
    found: list[Source] = []
    for text in timm:
        name, place = split_name(text)
        found.append(Source("timm", name or default_name(place), place))
    for kind, texts in (("checkpoint", checkpoint), ("features", features)):
        for text in texts:
            name, place = split_name(text)
            path = Path(place)
            if not (path.is_file() or (kind == "features" and path.is_dir())):
                raise DataError(f"no file {place}; --{kind} takes a file, or NAME=FILE")
            found.append(Source("checkpoint" if kind == "checkpoint" else "features", name or path.stem, place))
    names = [source.name for source in found]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UsageError(f"two sources are called {repeated!r}; give each a name, as in NAME=SOURCE")
    models = [source.name for source in found if source.kind != "features"]
    checkpoints = [source.name for source in found if source.kind == "checkpoint"]
    embeddings = [source.name for source in found if source.kind == "features"]
    architectures = assigned("--backbone", backbone, checkpoints)
    preprocessing = assigned("--preprocess", preprocess, models)
    poolings = assigned("--pooling", pooling, models)
    prefixes = assigned("--weights", weights, checkpoints)
    tables = assigned("--labels", labels, embeddings)
    for value in poolings.values():
        if value not in POOLINGS:
            raise unknown("pooling", value, POOLINGS)
    for value in tables.values():
        if not Path(value).is_file():
            raise DataError(f"no file {value}; --labels takes a CSV file with the columns filename and label")
    return tuple(
        Source(
            one.kind,
            one.name,
            one.place,
            backbone=architectures.get(one.name),
            preprocess=parse_preprocess(preprocessing[one.name]) if one.name in preprocessing else None,
            pooling=poolings.get(one.name, "model"),
            weights=prefixes.get(one.name),
            labels=Path(tables[one.name]) if one.name in tables else None,
        )
        for one in found
    )


def split_name(text: str) -> tuple[str | None, str]:
    """`NAME=SOURCE` in two, or None and the source; a file whose path has an equals sign is written `./a=b`."""
    match = _NAMED.fullmatch(text)
    return (match["name"], match["rest"]) if match else (None, text)


def default_name(place: str) -> str:
    """What tables call a model of timm: the last part of its name, without where it comes from."""
    return place.rstrip("/").rpartition("/")[2].rpartition(":")[2]


def assigned(flag: str, texts: Sequence[str], names: Sequence[str]) -> Mapping[str, str]:
    """What a flag says of each of `names`: `VALUE` of all, `NAME=VALUE` of one, which wins.

    Raises UsageError where it is said twice, or of nothing.
    """
    everyone: dict[str, str] = {}
    single: dict[str, str] = {}
    for text in texts:
        name, value = split_name(text)
        if name is not None and name in names:
            if name in single:
                raise UsageError(f"{flag} is given twice for {name!r}")
            single[name] = value
        elif name is not None and names:
            raise unknown(f"source of {flag}", name, names)
        elif everyone:
            raise UsageError(f"{flag} is given twice for all; say which source is meant, as in {flag} NAME={text}")
        else:
            everyone = dict.fromkeys(names, text)
    if texts and not names:
        raise UsageError(f"{flag} is about no source here; it belongs to --checkpoint, --timm or --features")
    return everyone | single
