"""The one size that images of a folder are brought to, read off their headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from dsabench.data.dataset import EncodedImages
from dsabench.data.sources.decoding import header
from dsabench.errors import DataError

LARGEST_COMMON_SIZE = 128
"""Images that all share one square size up to this, in pixels, keep it."""

USUAL_SIZE = 224

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
    unreadable = []
    total = sum(map(len, groups))
    for images in groups:
        for position in range(len(images)):
            try:
                found[header(images, position)[0]] += 1
            except DataError as error:
                unreadable.append(str(error))
            if total > LOOKED_AT and len(found) > 1:
                return Sizes(USUAL_SIZE, _differ("sizes differ"), tuple(unreadable))
    if not found:
        return Sizes(USUAL_SIZE, "", tuple(unreadable))
    (width, height), usual = found.most_common(1)[0]
    if len(found) > 1:
        words = f"sizes differ ({usual:,} of {total:,} images are {width}x{height})"
        return Sizes(USUAL_SIZE, _differ(words), tuple(unreadable))
    if width != height or width > LARGEST_COMMON_SIZE:
        return Sizes(USUAL_SIZE, _differ(f"the images are {width}x{height}"), tuple(unreadable))
    return Sizes(width, "", tuple(unreadable))


def _differ(words: str) -> str:
    return f"{words}: using {USUAL_SIZE} px; see --image-size"
