"""Which data set, and how much of it: the one value that travels from the flags to the loader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from dsabench.data import DATASETS
from dsabench.errors import UsageError, unknown

Folder = Annotated[str | None, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]


# Names that hold a path.
PATHS = ("csv", "wds")
# Names that go on behind a colon.
PLACED = (*PATHS, "hf")
# Images of the user's own: such a name does not say what is in it, and needs a place beside it.
USERS_OWN = ("imagefolder", *PLACED)
# Images that come with a package or are computed: no folder is read for them.
WITHOUT_FOLDER = ("digits", "synthetic")


@dataclass(frozen=True)
class Contamination:
    """Which shares of the pretraining images are replaced: by uniform noise, by copies of images that stay, by images
    of another data set. `str` of it is its canonical text, empty where nothing is replaced."""

    noise: float = 0.0
    duplicates: float = 0.0
    foreign: float = 0.0
    source: str = ""

    def __str__(self) -> str:
        named = {"noise": f"{self.noise:g}", "duplicates": f"{self.duplicates:g}"}
        texts = [f"{kind}={share}" for kind, share in named.items() if share != "0"]
        return ",".join([*texts, f"foreign={self.source}:{self.foreign:g}"] if self.foreign else texts)


def parse_contamination(text: str) -> Contamination:
    """Read `noise=0.1`, `duplicates=0.1`, `foreign=DATASET:0.1` or several with commas between.

    Raises UsageError for another word, a share that is none, shares that leave less than half, or a data set that has
    no name of its own.
    """
    given: dict[str, float] = {}
    source = ""
    for item in filter(None, text.split(",")):
        kind, _, value = (piece.strip() for piece in item.partition("="))
        if kind not in ("noise", "duplicates", "foreign"):
            raise unknown("kind of --contaminate", kind, ("noise", "duplicates", "foreign"))
        if kind in given:
            raise UsageError(f"--contaminate {text!r} says {kind} twice")
        if kind == "foreign":
            source, _, value = value.rpartition(":")
            if source not in DATASETS or source in USERS_OWN:
                raise unknown("dataset", source, [name for name in DATASETS if name not in USERS_OWN])
        try:
            given[kind] = float(value)
        except ValueError:
            given[kind] = -1.0
        if not 0 <= given[kind] <= 0.5:
            raise UsageError(f"cannot read --contaminate {item!r}: expected a share of 0 to 0.5, as in noise=0.1")
    if sum(given.values()) > 0.5:
        raise UsageError(f"--contaminate {text!r} replaces more than half of the images")
    return Contamination(**given, source=source if given.get("foreign") else "")


class DataConfig(BaseModel):
    """A data set by `name`, in `folder`, with at most `train_images` of `image_size` pixels a side.

    They are a subset stratified by label, or with `subset` random one that is drawn without looking at labels.
    The name `csv:FILE`, `wds:PATTERN` or `hf:NAME` says where it is read from. `val_share` of the training images is
    held out for validation, and groups that the regular expression `group_by` reads off the names of files are not
    split. `title` is what tables call it. `content` is the SHA-256 of what was loaded, for names that do not say what
    is in them (a folder of images). `contaminate` is the canonical text of a `Contamination`. An option that is added
    later is None where it changes nothing, and is then no part of the identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = "digits"
    folder: Folder = None
    title: str | None = None
    train_images: int | None = None
    subset: Literal["random"] | None = None
    image_size: int | None = None
    val_share: float | None = None
    group_by: str | None = None
    contaminate: str | None = None
    content: str | None = None

    @property
    def kind(self) -> str:
        """The entry of the registry: `csv` of `csv:FILE`."""
        return self.name.partition(":")[0]

    @property
    def place(self) -> str:
        """What stands behind the colon: `FILE` of `csv:FILE`; empty for most."""
        return self.name.partition(":")[2]

    @property
    def label(self) -> str:
        """What tables call the data set."""
        return self.title or (f"{self.kind}:{Path(self.place).name}" if self.kind in PATHS else self.name)

    @property
    def trained_on(self) -> str:
        """What tables call the images that a run was trained on: `digits`, `digits, noise=0.1`."""
        return ", ".join(filter(None, (self.label, self.contaminate)))

    def identity(self) -> dict[str, object]:
        """What decides which images are read: where they lie and what they are called is no part of it."""
        return {**self.model_dump(exclude={"folder", "title"}, exclude_none=True), "name": self.kind}


def located(name: str) -> str:
    """The name of a data set with its path, where it has one, made absolute."""
    kind, _, place = name.partition(":")
    return f"{kind}:{Path(place).absolute()}" if kind in PATHS and place else name
