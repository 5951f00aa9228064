"""Boxes of actions: the bounds that float32 and integers can keep, and where in a box a number is."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from rlformers.errors import UserError

# Spaces without bounds are often given float32's maximum. Between such bounds, +-1 would mean +-1e38.
HUGE = 1e30


def bounds_inside(
    low: Any, high: Any, shape: tuple[int, ...], dtype: Any
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The bounds of every entry of a box, rounded inwards to what its type can hold, in row-major order.

    Args:
        low: Lower bounds, a number or an array that broadcasts to `shape`; -inf where there is none.
        high: Upper bounds, likewise.
        shape: Of the actions.
        dtype: Of the actions: an integer type has its own limits as well; all other bounds are rounded to float32.

    Raises:
        UserError: A bound is NaN, or there is no number between two bounds.
    """
    low, high = (np.broadcast_to(np.asarray(bound, np.float64), shape).ravel() for bound in (low, high))
    if is_integer(dtype):
        floor, ceiling = _within(dtype, np.ceil(low), np.floor(high))
    else:
        floor, ceiling = _toward(low, np.inf), _toward(high, -np.inf)
        narrow = (low <= high) & (floor > ceiling)  # nothing of float32 is between
        floor, ceiling = (np.where(narrow, _float32(low), bound) for bound in (floor, ceiling))
    empty = ~((low <= high) & (floor <= ceiling) & (low < np.inf) & (high > -np.inf))  # NaN compares with nothing
    if empty.any():
        index = int(np.argmax(empty))
        raise UserError(f"env: no action of type {dtype} lies between the bounds {low[index]} and {high[index]}")
    if is_integer(dtype):  # the limits of a type are no bounds of the space
        floor, ceiling = np.where(low < -HUGE, low, floor), np.where(high > HUGE, high, ceiling)
    return tuple(floor.tolist()), tuple(ceiling.tolist())


def into_box(
    x: Float[Array, "*B A"], low: tuple[float, ...], high: tuple[float, ...], dtype: Any
) -> Shaped[Array, "*B A"]:
    """The point of a box that a number stands for, which is inside for every number.

    Between two bounds, -1 is the lower, 1 the upper one, and what lies between is linear. A single bound is at -1 if it
    is the lower one, else at 1, and numbers are counted from it in units of 1. Without bounds x stands for itself.

    Args:
        x: Any numbers.
        low: Lower bounds [A] of `bounds_inside`.
        high: Upper bounds [A].
        dtype: Of the actions: integers are rounded to, all else is float32.
    """
    lowest, highest = np.array(low), np.array(high)
    below, above = np.abs(lowest) <= HUGE, np.abs(highest) <= HUGE
    both = below & above
    floor, ceiling = np.where(below, lowest, 0.0), np.where(above, highest, 0.0)
    anchor = np.where(both, floor / 2 + ceiling / 2, floor + ceiling)  # of a single bound, the other is 0
    unit = np.where(both, ceiling / 2 - floor / 2, 1.0)
    shift = np.where(both, 0.0, 1.0 * below - 1.0 * above)
    y = _float32(anchor) + _float32(unit) * (x + _float32(shift))
    if is_integer(dtype):
        lowest, highest = _within(dtype, lowest, highest)
        # Rounded inwards, for a cast of what the type cannot hold is undefined.
        y = jnp.clip(jnp.round(y), _toward(lowest, np.inf), _toward(highest, -np.inf)).astype(dtype)
        lowest, highest = lowest.astype(dtype), highest.astype(dtype)
    else:
        lowest, highest = _float32(lowest), _float32(highest)
    # Bounds are met exactly, also those that float32 cannot tell from their neighbours.
    y = jnp.where(below & (x <= -1), lowest, y)
    y = jnp.where(above & (x >= 1), highest, y)
    return jnp.minimum(jnp.maximum(y, lowest), highest)


def is_integer(dtype: Any) -> bool:
    """Whether actions of this type are whole numbers; so are truth values."""
    return np.dtype(dtype).kind in "biu"


def _within(dtype: Any, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds within the limits of an integer type."""
    least, most = (0, 1) if np.dtype(dtype).kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.maximum(low, least), np.minimum(high, most)


def _toward(bound: np.ndarray, direction: float) -> np.ndarray:
    """The nearest float32 that is not on the other side."""
    nearest = _float32(bound)
    beyond = nearest < bound if direction > 0 else nearest > bound
    return np.where(beyond, np.nextafter(nearest, np.float32(direction)), nearest)


def _float32(x: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float64).astype(np.float32)
