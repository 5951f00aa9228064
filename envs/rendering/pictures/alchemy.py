"""Symbolic Alchemy."""

from typing import Any

from rlformers.envs.rendering.pictures.canvas import BLUE, GOLD, GREEN, GREY, INK, ORANGE, PALE, RED, SKY, WHITE, Canvas

# A pair of colours for each axis, down and up.
POTIONS = (RED, (240, 150, 150), GREEN, (160, 210, 160), BLUE, SKY)


def alchemy(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """Stones, with a light dot for each coordinate that is 1, and potions by what they do; used ones are pale."""
    for index, (stone, left) in enumerate(zip(state.stones, state.stones_left, strict=True)):
        x = (index + 0.5) / len(state.stones)
        canvas.circle(x, 0.27, 0.14, INK if left else PALE)
        canvas.circle(x, 0.27, 0.125, (GOLD if (stone == 1).all() else GREY) if left else PALE)
        for axis, coordinate in enumerate(stone if left else ()):
            canvas.circle(x + 0.07 * (axis - 1), 0.27, 0.026, WHITE if coordinate == 1 else INK)
    for index, (potion, left) in enumerate(zip(state.potions, state.potions_left, strict=True)):
        row, column = divmod(index, 6)
        x, y = 0.1 + 0.16 * column, 0.64 + 0.22 * row
        colour = POTIONS[int(potion)] if left else PALE
        canvas.rectangle(x - 0.02, y - 0.08, x + 0.02, y, ORANGE if left else PALE, 0.01)
        canvas.circle(x, y + 0.02, 0.055, colour)
