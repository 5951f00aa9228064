"""Bounded observations on one scale: what lies between -b and b, or 0 and b, is divided by b."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rlformers.agents.boxes import HUGE


class Scale(NamedTuple):
    """(x - offset) / unit, for each entry of a vector or each channel of an image; one number stands for all."""

    offset: tuple[float, ...]
    unit: tuple[float, ...]

    def apply(self, x: Float[Array, "*T n"]) -> Float[Array, "*T n"]:
        """The numbers on this scale."""
        if set(self.offset) == {0.0} and set(self.unit) == {1.0}:
            return x
        return (x - jnp.array(self.offset, jnp.float32)) / jnp.array(self.unit, jnp.float32)


def scale_of(leaf: Any, low: Any = None, high: Any = None) -> Scale:
    """The scale for one part of an observation, by its bounds, whatever its type.

    Zero stays zero where it is between the bounds, else the nearer bound becomes 0; the farther one becomes 1 or -1.
    Entries without two bounds stay what they are. The largest numbers of a type with 32 bits or more are no bounds.

    Args:
        leaf: A vector [n] or an image [H, W, C], an array or a `jax.ShapeDtypeStruct`.
        low: Lower bounds, of its shape. None: unknown; then bytes are taken to go from 0 to 255.
        high: Upper bounds.
    """
    if low is None or high is None:
        return Scale((0.0,), (255.0 if leaf.dtype == jnp.uint8 else 1.0,))
    spatial = tuple(range(len(leaf.shape) - 1))
    low, high = np.asarray(low, np.float64).min(spatial), np.asarray(high, np.float64).max(spatial)
    most = float(np.iinfo(leaf.dtype).max) if np.dtype(leaf.dtype).kind in "iu" else np.inf
    limit = min(HUGE, most if most > 2**30 else HUGE)
    bounded = (np.abs(low) < limit) & (np.abs(high) < limit)
    offset = np.where(bounded, np.where(low > 0, low, np.where(high < 0, high, 0.0)), 0.0)
    unit = np.where(bounded, np.maximum(np.abs(low - offset), np.abs(high - offset)), 1.0)
    unit = np.where(unit > 0, unit, 1.0)
    return Scale(*(tuple((x[:1] if (x == x[0]).all() else x).tolist()) for x in (offset, unit)))
