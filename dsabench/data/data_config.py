"""Which data set, and how much of it: the one value that travels from the flags to the loader."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

Folder = Annotated[str | None, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]


# Names that hold a path.
PATHS = ("csv", "wds")


class DataConfig(BaseModel):
    """A data set by `name`, in `folder`, with at most `train_images` of `image_size` pixels a side.

    They are a subset stratified by label, or with `subset` random one that is drawn without looking at labels.
    The name `csv:FILE`, `wds:PATTERN` or `hf:NAME` says where it is read from. `val_share` of the training images is
    held out for validation, and groups that the regular expression `group_by` reads off the names of files are not
    split. `title` is what tables call it. `content` is the SHA-256 of what was loaded, for names that do not say what
    is in them (a folder of images). An option that is added later is None where it changes nothing, and is then no part
    of the identity.
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

    def identity(self) -> dict[str, object]:
        """What decides which images are read: where they lie and what they are called is no part of it."""
        return {**self.model_dump(exclude={"folder", "title"}, exclude_none=True), "name": self.kind}


def located(name: str) -> str:
    """The name of a data set with its path, where it has one, made absolute."""
    kind, _, place = name.partition(":")
    return f"{kind}:{Path(place).absolute()}" if kind in PATHS and place else name
