"""The one size that images of a folder are brought to, read off their headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dsabench.data.dataset import EncodedImages
from dsabench.data.sources.decoding import header
from dsabench.errors import MOST_NAMED, DataError, several

LARGEST_COMMON_SIZE = 128
"""Images that all share one square size up to this, in pixels, keep it."""

USUAL_SIZE = 224

FEW = 0.1
"""Images of other sizes than the commonest are named where they are no more than this share."""

LOOKED_AT = 20_000
"""Of more images than this no header is read behind the first two that differ."""


class Sizes(NamedTuple):
    """The side in pixels that was chosen, why where that is not plain, and the images that cannot be read."""

    chosen: int
    note: str
    unreadable: tuple[str, ...]


def common_size(groups: Sequence[EncodedImages]) -> Sizes:
    """The square size that all images share up to `LARGEST_COMMON_SIZE`, else `USUAL_SIZE` and a note that says so."""
    found: Counter[tuple[int, int]] = Counter()
    names: dict[tuple[int, int], list[str]] = {}
    unreadable = []
    total = sum(map(len, groups))
    for images in groups:
        for position in range(len(images)):
            try:
                size = header(images, position)[0]
            except DataError as error:
                unreadable.append(str(error))
                continue
            found[size] += 1
            if len(named := names.setdefault(size, [])) < MOST_NAMED:
                named.append(images.name(position))
            if total > LOOKED_AT and len(found) > 1:
                words = " and ".join(f"{names[one][0]} is {_by(one)}" for one in found)
                return Sizes(USUAL_SIZE, _differ(f"sizes differ ({words})"), tuple(unreadable))
    if not found:
        return Sizes(USUAL_SIZE, "", tuple(unreadable))
    (width, height), usual = found.most_common(1)[0]
    if len(found) > 1:
        words = f"{usual:,} of {total:,} images are {width}x{height}"
        others = found.total() - usual
        if others <= max(1, FEW * total):
            odd = [f"{name} ({_by(size)})" for size in found if size != (width, height) for name in names[size]]
            words += f", not {several(odd, ', ', others)}"
        return Sizes(
            USUAL_SIZE, _differ(f"sizes differ: {words}", width if width == height else None), tuple(unreadable)
        )
    if width != height or width > LARGEST_COMMON_SIZE:
        return Sizes(USUAL_SIZE, _differ(f"the images are {width}x{height}"), tuple(unreadable))
    return Sizes(width, "", tuple(unreadable))


def _differ(words: str, common: int | None = None) -> str:
    other = f"; --image-size {common} would keep the common size" if common else "; see --image-size"
    return f"{words}; using {USUAL_SIZE} px{other}"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
