"""Places for the labels of points, so that as few as can be lie on each other: greedy, from near to far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

# The mean width of a letter and the distance of two lines, in sizes of the text.
LETTER, LINE = 0.56, 1.2


# In pixels.
Place = tuple[float, float]


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """The area that two rectangles share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    def distance(self, x: float, y: float) -> float:
        """How far a point is from the rectangle."""
        return math.hypot(max(self.left - x, 0.0, x - self.right), max(self.bottom - y, 0.0, y - self.top))


def beside(
    names: Sequence[str],
    points: Sequence[Place],
    size: float,
    frame: Box,
    lines: Sequence[tuple[Place, Place]] = (),
) -> list[Box]:
    """A box for each name beside its point, text of `size` pixels, inside `frame` as far as that can be.

    Of twelve directions at growing distances the first that lies on no point, no line and no label before it, else the
    best.
    """
    marks = [Box(x - 0.4 * size, y - 0.4 * size, x + 0.4 * size, y + 0.4 * size) for x, y in points]
    marks += [
        Box(x - 0.2 * size, y - 0.2 * size, x + 0.2 * size, y + 0.2 * size)
        for line in lines
        for x, y in _along(*line, 0.5 * size)
    ]
    placed: list[Box] = []
    for name, (x, y) in zip(names, points, strict=True):
        parts = name.split("\n")
        width, height = LETTER * size * max(map(len, parts)), LINE * size * len(parts)
        candidates = [
            _box(x, y, width, height, angle, reach * size) for reach in (0.7, 1.4, 2.4, 3.6, 5.0) for angle in _ANGLES
        ]
        costs = [_cost(box, frame, [*placed, *marks]) for box in candidates]
        placed.append(candidates[min(range(len(costs)), key=costs.__getitem__)])
    return placed


_ANGLES = tuple(math.radians(degrees) for degrees in (0, 45, -45, 90, -90, 180, 135, -135, 20, -20, 160, -160))


def _along(start: Place, end: Place, step: float) -> list[Place]:
    """Points between two, `step` apart."""
    n = max(1, int(math.dist(start, end) / step))
    return [tuple(a + (b - a) * k / n for a, b in zip(start, end, strict=True)) for k in range(1, n)]  # type: ignore[misc]


def _box(x: float, y: float, width: float, height: float, angle: float, reach: float) -> Box:
    """The rectangle that touches a circle around (x, y) in the direction of `angle`."""
    centre_x = x + math.cos(angle) * (reach + width / 2)
    centre_y = y + math.sin(angle) * (reach + height / 2)
    return Box(centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2)


def _cost(box: Box, frame: Box, taken: Sequence[Box]) -> float:
    area = (box.right - box.left) * (box.top - box.bottom)
    return sum(box.overlap(other) for other in taken) + 2 * (area - box.overlap(frame))
