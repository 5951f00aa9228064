"""Drawing with NumPy alone: shapes in a square of side 1, x to the right and y down, smoothed by supersampling."""

from collections.abc import Callable, Sequence

import numpy as np

Colour = tuple[int, int, int]

PAPER: Colour = (250, 249, 245)
INK: Colour = (44, 47, 56)
GREY: Colour = (150, 154, 164)
PALE: Colour = (221, 223, 228)
WHITE: Colour = (255, 255, 255)
RED: Colour = (201, 48, 56)
ORANGE: Colour = (238, 131, 38)
GOLD: Colour = (243, 196, 55)
GREEN: Colour = (66, 150, 84)
BLUE: Colour = (52, 108, 176)
SKY: Colour = (168, 205, 235)
PURPLE: Colour = (128, 84, 160)
# For categories, distinct next to each other.
SERIES: tuple[Colour, ...] = (BLUE, ORANGE, GREEN, RED, PURPLE, GOLD, (88, 186, 190), (148, 98, 70), (226, 119, 176))

# 5 x 7 pixels each, a row per number, the leftmost pixel is the highest bit.
GLYPHS = {
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
    "A": (14, 17, 17, 31, 17, 17, 17),
    "J": (7, 2, 2, 2, 2, 18, 12),
    "Q": (14, 17, 17, 17, 21, 18, 13),
    "K": (17, 18, 20, 24, 20, 18, 17),
    "?": (14, 17, 1, 2, 4, 0, 4),
}


class Canvas:
    """A square picture in the making.

    Args:
        size: Pixels along a side.
        background: Its colour.
        oversampling: Samples per pixel along a side.
    """

    def __init__(self, size: int = 256, background: Colour = PAPER, oversampling: int = 3):
        self.size, self.oversampling = size, oversampling
        self.samples = np.empty((size * oversampling, size * oversampling, 3), np.uint8)
        self.samples[:] = background

    def image(self) -> np.ndarray:
        """The picture, uint8 [size, size, 3]."""
        size, k = self.size, self.oversampling
        return self.samples.reshape(size, k, size, k, 3).mean((1, 3)).round().astype(np.uint8)

    def fill(
        self,
        box: tuple[float, float, float, float],
        inside: Callable[[np.ndarray, np.ndarray], np.ndarray],
        colour: Colour,
    ) -> None:
        """Colour the points (x, y) where `inside` holds, all of which lie in the box (left, top, right, bottom)."""
        number = len(self.samples)
        left, top = (max(0, int(np.floor(bound * number))) for bound in box[:2])
        right, bottom = (min(number, int(np.ceil(bound * number))) for bound in box[2:])
        if left < right and top < bottom:
            x, y = (np.arange(left, right) + 0.5) / number, (np.arange(top, bottom) + 0.5) / number
            self.samples[top:bottom, left:right][inside(x[None, :], y[:, None])] = colour

    def rectangle(
        self, left: float, top: float, right: float, bottom: float, colour: Colour, radius: float = 0.0
    ) -> None:
        """A rectangle, with round corners of some radius."""

        def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            dx = np.maximum(np.maximum(left + radius - x, x - right + radius), 0)
            dy = np.maximum(np.maximum(top + radius - y, y - bottom + radius), 0)
            return dx**2 + dy**2 <= radius**2

        self.fill((left, top, right, bottom), inside, colour)

    def circle(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A disc."""
        box = (x - radius, y - radius, x + radius, y + radius)
        self.fill(box, lambda px, py: (px - x) ** 2 + (py - y) ** 2 <= radius**2, colour)

    def line(self, start: Sequence[float], end: Sequence[float], width: float, colour: Colour) -> None:
        """A straight line with round ends."""
        (x0, y0), (x1, y1), half = start, end, width / 2
        length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-12)

        def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
            return (x - x0 - along * (x1 - x0)) ** 2 + (y - y0 - along * (y1 - y0)) ** 2 <= half**2

        box = (min(x0, x1) - half, min(y0, y1) - half, max(x0, x1) + half, max(y0, y1) + half)
        self.fill(box, inside, colour)

    def polygon(self, points: Sequence[Sequence[float]], colour: Colour) -> None:
        """A polygon; where it crosses itself, by the even-odd rule."""
        corners = np.asarray(points, float)

        def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            odd = np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
            for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
                if y0 != y1:
                    odd ^= ((y0 > y) != (y1 > y)) & (x < x0 + (x1 - x0) * (y - y0) / (y1 - y0))
            return odd

        self.fill((*corners.min(0), *corners.max(0)), inside, colour)

    def text(self, x: float, y: float, text: str, height: float, colour: Colour) -> None:
        """Digits and the letters of cards (`GLYPHS`), centred at (x, y)."""
        dot = height / 7
        left, top = x - dot * (6 * len(text) - 1) / 2, y - height / 2
        for index, character in enumerate(text):
            for row, bits in enumerate(GLYPHS[character]):
                for column in range(5):
                    if bits >> (4 - column) & 1:
                        px, py = left + dot * (6 * index + column), top + dot * row
                        self.rectangle(px, py, px + dot, py + dot, colour)
