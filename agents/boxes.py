"""Boxes of actions: the bounds that float32 and integers can keep, and where in a box a number is."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

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
        ValueError: A bound is NaN, or there is no number between two bounds.
    """
    low, high = (np.broadcast_to(np.asarray(bound, np.float64), shape).ravel() for bound in (low, high))
    if is_integer(dtype):
        least, most = _limits(dtype)
        floor, ceiling = np.maximum(np.ceil(low), least), np.minimum(np.floor(high), most)
    else:
        floor, ceiling = _toward(low, np.inf), _toward(high, -np.inf)
        narrow = (low <= high) & (floor > ceiling)  # nothing of float32 is between
        floor, ceiling = (np.where(narrow, _float32(low), bound) for bound in (floor, ceiling))
    empty = ~((low <= high) & (floor <= ceiling) & (low < np.inf) & (high > -np.inf))  # NaN compares with nothing
    if empty.any():
        index = int(np.argmax(empty))
        raise ValueError(f"env: no action of type {dtype} lies between the bounds {low[index]} and {high[index]}")
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
    floor, ceiling = np.array(low), np.array(high)
    below, above = np.abs(floor) <= HUGE, np.abs(ceiling) <= HUGE
    floor, ceiling = np.where(below, floor, 0.0), np.where(above, ceiling, 0.0)
    both = below & above
    anchor = np.where(both, floor / 2 + ceiling / 2, floor + ceiling)  # of which one is 0, or both
    unit = np.where(both, ceiling / 2 - floor / 2, 1.0)
    shift = np.where(both, 0.0, below * 1.0 - above * 1.0)
    y = _float32(anchor) + _float32(unit) * (x + _float32(shift))
    y = jnp.where(below & (x <= -1), _float32(floor), y)
    y = jnp.where(above & (x >= 1), _float32(ceiling), y)
    if not is_integer(dtype):
        return jnp.clip(y, _float32(low), _float32(high))
    # Casts of what an integer cannot hold are undefined, so bounds that are rounded inwards come before; float32 lacks
    # integers beyond 2^24, so the exact bounds come after.
    y = jnp.clip(jnp.round(y), _toward(np.array(low), np.inf), _toward(np.array(high), -np.inf)).astype(dtype)
    return jnp.minimum(jnp.maximum(y, np.array(low).astype(y.dtype)), np.array(high).astype(y.dtype))


def is_integer(dtype: Any) -> bool:
    """Whether actions of this type are whole numbers; so are truth values."""
    return np.dtype(dtype).kind in "biu"


def _limits(dtype: Any) -> tuple[int, int]:
    if np.dtype(dtype).kind == "b":
        return 0, 1
    limits = np.iinfo(np.dtype(dtype))
    return limits.min, limits.max


def _toward(bound: np.ndarray, direction: float) -> np.ndarray:
    """The nearest float32 that is not on the other side."""
    nearest = _float32(bound)
    beyond = nearest < bound if direction > 0 else nearest > bound
    return np.where(beyond, np.nextafter(nearest, np.float32(direction)), nearest)


def _float32(x: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float64).astype(np.float32)
