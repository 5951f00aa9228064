"""What can be shown of anything: its numbers."""

from typing import Any

import numpy as np

from rlformers.envs.rendering.pictures.canvas import BLUE, GREY, ORANGE, PALE, Canvas

MOST = 128  # bars in a picture


def numbers(canvas: Canvas, values: Any) -> None:
    """Bars up and down from the middle; above 128 numbers, means of neighbours.

    The scale is linear up to about 1 and logarithmic beyond (asinh), and ends at 1 or at the
    largest number.
    """
    values = np.nan_to_num(np.asarray(values, float).ravel(), posinf=0.0, neginf=0.0)
    if not len(values):
        return
    if len(values) > MOST:
        values = np.array([part.mean() for part in np.array_split(values, MOST)])
    values = np.arcsinh(values)
    width, scale = 0.9 / len(values), 0.42 / max(float(np.arcsinh(1)), float(np.abs(values).max()))
    for index, value in enumerate(values):
        left = 0.05 + index * width
        right = left + 0.85 * width
        canvas.rectangle(left, 0.08, right, 0.92, PALE)
        top, bottom = sorted((0.5, 0.5 - scale * float(value)))
        canvas.rectangle(left, top, right, bottom, BLUE if value > 0 else ORANGE)
    canvas.line((0.04, 0.5), (0.96, 0.5), 0.006, GREY)
