"""The one size that images of a folder are brought to, read off their headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from statistics import median_low
from typing import NamedTuple

from dsabench.data.dataset import EncodedImages
from dsabench.data.sources.decoding import header
from dsabench.errors import MOST_NAMED, DataError, several

LARGEST_COMMON_SIZE = 128
"""Images that all share one square size up to this, in pixels, keep it."""

USUAL_SIZE = 224

FEW = 0.1
"""Images of other sizes than the commonest are named where they are no more than this share."""

MOST_SIZES = 5
"""So many sizes are told, the commonest ones."""

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
        others = found.total() - usual
        odd = [f"{name} ({_by(size)})" for size in found if size != (width, height) for name in names[size]]
        which = f": {several(odd, ', ', others)}" if others <= max(1, FEW * total) else ""
        least, most = min(found, key=prod), max(found, key=prod)
        ends = f"smallest {_by(least)} ({names[least][0]}), largest {_by(most)} ({names[most][0]})"
        words = f"sizes differ: {_counted(found)}{which}; {ends}"
        return Sizes(USUAL_SIZE, _differ(words, width if width == height else None, usual, found), tuple(unreadable))
    if width != height or width > LARGEST_COMMON_SIZE:
        return Sizes(USUAL_SIZE, _differ(f"the images are {width}x{height}"), tuple(unreadable))
    return Sizes(width, "", tuple(unreadable))


def _counted(found: Counter[tuple[int, int]]) -> str:
    """How many images have which size, the commonest first: `3 sizes, 28x28 (996), 30x30 (3), 64x64 (1)`."""
    shown = [f"{_by(size)} ({count:,})" for size, count in found.most_common(MOST_SIZES)]
    more = [f"{len(found) - MOST_SIZES:,} others"] if len(found) > MOST_SIZES else []
    return f"{len(found):,} sizes, {', '.join(shown + more)}"


def _differ(
    words: str, common: int | None = None, count: int = 0, found: Counter[tuple[int, int]] | None = None
) -> str:
    """Why the usual size is used, and which others would do: the `common` one of `count` images, or the median side of
    those `found` where it enlarges more than half of them."""
    other = f"; --image-size {common} would keep that of {count:,}" if common else ""
    sides = sorted(min(size) for size in (found or Counter()).elements())
    smaller = sum(side < USUAL_SIZE for side in sides)
    if 2 * smaller > len(sides):
        middle = median_low(sides)
        fits = "" if middle == common else f"; --image-size {middle} would fit the median"
        other = f", to which {smaller:,} of {len(sides):,} are enlarged{other}{fits}"
    return f"{words}; using {USUAL_SIZE} px{other or '; see --image-size'}"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
