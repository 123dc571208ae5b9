"""Images in tars in the format of WebDataset, read at random through an index of offsets; nothing is unpacked.

The files of a sample share their name up to the first dot of its last part: `000/cat7.jpg` and `000/cat7.cls`.
"""

from __future__ import annotations

import glob
import re
import tarfile
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import BinaryIO, NamedTuple

from torch import Tensor

from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import DatasetSpec, RawDataset
from dsabench.data.sources.archives import safe_name
from dsabench.data.sources.imagefolder import SUFFIXES
from dsabench.data.sources.roles import ROLES, arranged
from dsabench.errors import MOST_NAMED, DataError, UsageError

LABEL = "cls"
LONGEST_LABEL = 1024
MOST_SHARDS = 100_000


class Member(NamedTuple):
    """Where the bytes of an image lie: the number of its tar, its name in there, the offset and how many they are."""

    shard: int
    name: str
    offset: int
    n_bytes: int


@dataclass(frozen=True)
class TarMembers:
    """Images inside tars, read where they lie."""

    shards: tuple[Path, ...]
    members: tuple[Member, ...]

    def __len__(self) -> int:
        return len(self.members)

    def take(self, index: Tensor) -> TarMembers:
        return TarMembers(self.shards, tuple(self.members[i] for i in index.tolist()))

    def name(self, position: int) -> str:
        member = self.members[position]
        return f"{self.shards[member.shard].name}/{member.name}"

    def n_bytes(self, position: int) -> int:
        return self.members[position].n_bytes

    def open(self, position: int) -> BinaryIO:
        member = self.members[position]
        with self.shards[member.shard].open("rb") as file:
            file.seek(member.offset)
            return BytesIO(file.read(member.n_bytes))

    def where(self, position: int) -> str:
        member = self.members[position]
        return f"{member.name} in {self.shards[member.shard]}"


def build(config: DataConfig, offline: bool) -> RawDataset:
    """Index the tars of a pattern; a tar with test, val or train in its name holds that split.

    Raises UsageError without a pattern, DataError where tars, labels or images are missing or a member is not sound.
    """
    if not config.place:
        raise UsageError("name the tars of your images: --dataset 'wds:FOLDER/train-{000..009}.tar'")
    shards = tuple(expanded(config.place))
    if not shards:
        raise DataError(f"no tar fits the pattern {config.place}")
    members: list[Member] = []
    labels: list[str] = []
    roles: list[str] = []
    ignored: list[str] = []
    for number, shard in enumerate(shards):
        found, others = _indexed(number, shard)
        members += [member for member, _ in found]
        labels += [label for _, label in found]
        roles += [_role(shard)] * len(found)
        ignored += others
    raw = arranged(TarMembers(shards, tuple(members)), labels, roles, source=config.place, ignored=len(ignored))
    return raw._replace(ignored_names=tuple(ignored[:MOST_NAMED]))


def expanded(pattern: str) -> list[Path]:
    """The tars of a pattern in the order of their paths: `{000..009}` and `{train,test}` are alternatives, `*` any.

    Raises DataError where one that is spelled out is not there.
    """
    pieces = re.split(r"\{([^{}]*)\}", pattern)
    choices = [[piece] if place % 2 == 0 else _alternatives(piece) for place, piece in enumerate(pieces)]
    found = []
    for number, words in enumerate(product(*choices)):
        if number >= MOST_SHARDS:
            raise UsageError(f"{pattern} stands for more than {MOST_SHARDS:,} tars")
        path = "".join(words)
        if any(mark in path for mark in "*?["):
            found += [Path(one) for one in glob.glob(path)]
        elif Path(path).is_file():
            found.append(Path(path))
        else:
            raise DataError(f"no file {path}, which the pattern {pattern} names")
    return sorted(set(found))


def _alternatives(text: str) -> list[str]:
    first, dots, last = text.partition("..")
    if not dots:
        return text.split(",")
    if not (first.isdecimal() and last.isdecimal()) or int(last) - int(first) > MOST_SHARDS:
        raise UsageError(f"cannot read the range {{{text}}}: expected numbers such as {{000..009}}")
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]


def _role(shard: Path) -> str:
    """What the name of a tar says of its split; `train` where it says nothing."""
    words = re.split(r"[^a-z]+", shard.name.lower())
    return next((ROLES[word] for word in words if word in ROLES), "train")


def _indexed(number: int, shard: Path) -> tuple[list[tuple[Member, str]], list[str]]:
    """The images of a tar with their labels, in its order, and the names of its members that are neither."""
    images: dict[str, Member] = {}
    labels: dict[str, str] = {}
    others = []
    try:
        with tarfile.open(shard, "r:") as archive:
            for info in archive:
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse() or not safe_name(info.name):
                    raise DataError(f"{shard} holds {info.name!r}, which is no plain file below it; it is not read")
                folder, _, last = info.name.rpartition("/")
                stem, _, ending = last.partition(".")
                key = f"{folder}/{stem}"
                if ending.lower() == LABEL:
                    labels[key] = _label(archive, info, shard)
                elif f".{ending.lower()}" in SUFFIXES:
                    if key in images:
                        raise DataError(f"{shard} holds two images of the sample {key.lstrip('/')}; one is needed")
                    images[key] = Member(number, info.name, info.offset_data, info.size)
                else:
                    others.append(info.name)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"cannot read {shard} as a tar that is not compressed: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {shard}: {error.strerror or error}") from error
    size = shard.stat().st_size
    for key, member in images.items():
        if key not in labels:
            raise DataError(f"{shard}: the image {member.name} has no label {key.lstrip('/')}.{LABEL} beside it")
        if member.offset + member.n_bytes > size:
            raise DataError(f"{shard} ends within {member.name}; it was not written or copied whole")
    return [(member, labels[key]) for key, member in images.items()], others


def _label(archive: tarfile.TarFile, info: tarfile.TarInfo, shard: Path) -> str:
    content = archive.extractfile(info)
    assert content is not None
    if info.size > LONGEST_LABEL:
        raise DataError(f"{shard}: the label {info.name} has {info.size:,} bytes; expected a number or a word")
    try:
        label = content.read().decode().strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{shard}: the label {info.name} is no text") from error
    if not label:
        raise DataError(f"{shard}: the label {info.name} is empty")
    return label


SPEC = DatasetSpec(
    name="wds",
    builder=build,
    channels=3,
    image_size=None,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
