"""A body on a grid that turns and walks, as in the grid variants of Memory Gym (Pleines et al. 2023)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32

NORTH, WEST, SOUTH, EAST = range(4)
# Changes of (x, y), one for every way to face; y grows to the south.
AHEAD = np.array([(0, -1), (-1, 0), (0, 1), (1, 0)], np.int32)
STAY, TURN_LEFT, TURN_RIGHT, FORWARD = range(4)  # actions


class Pose(NamedTuple):
    """Where it is, and which way it faces."""

    position: Int32[Array, "2"]  # (x, y)
    facing: Int32[Array, ""]


def move(pose: Pose, action: Any, size: int) -> Pose:
    """Stay, turn, or go forward, if there is no wall."""
    turn = jnp.asarray([0, 1, -1, 0], jnp.int32)[action]
    ahead = jnp.clip(pose.position + jnp.asarray(AHEAD)[pose.facing], 0, size - 1)
    return Pose(jnp.where(action == FORWARD, ahead, pose.position), jnp.mod(pose.facing + turn, 4))
