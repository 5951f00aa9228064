"""Which arrays are images, and how their axes are brought into the order [H, W, C] that encoders read."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp

from rlformers.envs import spaces
from rlformers.errors import UserError

# A matrix with a side below is a table of numbers, not a picture: encoders make images smaller down to 5 x 5 cells.
SMALLEST = 5
USUAL_CHANNELS = (1, 3, 4)
SUPPORTED = (
    "vectors, images [H, W], [H, W, C] and [C, H, W], and stacks of N images [N, H, W], [N, H, W, C], [N, C, H, W]"
)


class Layout(NamedTuple):
    """The way from an array to an image."""

    axes: tuple[int, ...]  # of the array: rows, columns, then all that are channels
    shape: tuple[int, int, int]  # [H, W, C]

    def apply(self, x: Any) -> Any:
        """The image of an array, or its bounds; without a copy where it is one already."""
        return jnp.transpose(x, self.axes).reshape(self.shape)


def layout_of(space: spaces.Box, place: str) -> Layout | None:
    """How a Box is read as an image; None: it is a vector, a number, or a small table of numbers.

    Two neighbouring axes are rows and columns, all others channels. Frames of a stack become channels. An array
    [a, b, c] is [C, H, W] if a is smaller than b and c, and these are equal or at least twice as large.

    Args:
        space: Of the array.
        place: Where it stands, for the message.

    Raises:
        UserError: It is no image that can be told.
    """
    shape = tuple(space.shape)
    if len(shape) < 2 or (len(shape) == 2 and min(shape) < SMALLEST):
        return None
    if len(shape) == 2:
        rows = 0
    elif len(shape) == 3:
        rows = _rows(shape)
    else:
        rows = 1 + _rows(shape[1:4])
        if min(shape[:2]) >= min(shape[rows : rows + 2]):  # the stack is the last axis, not the first
            rows = 0
        if len(shape) > 4 or min(shape[rows : rows + 2]) < SMALLEST:
            sizes = ", ".join(map(str, shape))
            what = f"the observation {place}".strip()
            raise UserError(f"env: {what} is {jnp.dtype(space.dtype).name}[{sizes}]; encoders read {SUPPORTED}")
    axes = (rows, rows + 1, *(axis for axis in range(len(shape)) if axis not in (rows, rows + 1)))
    return Layout(axes, (shape[rows], shape[rows + 1], math.prod(shape) // (shape[rows] * shape[rows + 1])))


def _rows(shape: tuple[int, ...]) -> int:
    """The axis of the rows of an array with three axes: 1 if channels come first, else 0."""
    first, *others = shape
    usual = shape[2] in USUAL_CHANNELS and first not in USUAL_CHANNELS
    return int(not usual and first < min(others) and (others[0] == others[1] or 2 * first <= min(others)))
