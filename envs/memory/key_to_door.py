"""KeyToDoor: a key, then a long time of apples, then a door that only the key opens (see `three_phases`)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.memory.three_phases import DOOR, KEY, LIGHT, Params, ThreePhases, place

HALL = """
  #######
  #     #
  #     #
  ##   ##
  #     #
  #     #
  #######
"""
VAULT = """

   ## ##
   #   #
   #   #
   #   #
   #####

"""
LAMP_AT, DOOR_AT = (0, 5), (1, 5)


class Scene(NamedTuple):
    """The key and the door."""

    key: Int32[Array, "2"]  # row and column
    taken: Bool[Array, ""]  # the player has taken the key
    lit: Bool[Array, ""]  # the lamp that shines for one step when the key is taken
    opened: Bool[Array, ""]  # the door has paid


class KeyToDoor(ThreePhases):
    """Take the key in the first room. Then the door in the last room opens and pays `final_reward`, once.

    The key lies anywhere in the 10 cells at the northern end of the first room; the player starts
    anywhere in the 10 cells at the southern end. A lamp confirms for one step that the key is
    taken. The door stands two cells north of the entrance of the last room. Without the key it is a
    wall. By default the phases have 15, 60 and 10 steps (Ni et al. lengthen the second up to 500),
    an apple pays 1 and the door pays 5.

    The difficulty is credit, not memory. The reward for the key comes a phase later, under the
    noise of the apples, but it is right to walk to the door with or without memory of the key. With
    `apple_reward=0` the optimal return is `final_reward`. By default it is that plus as many apples
    as one can gather.
    """

    default_params = Params()

    def __init__(self) -> None:
        super().__init__(HALL, VAULT, reward_start=(3, 5))

    def draw_scene(self, key: PRNGKeyArray) -> tuple[Scene, Int32[Array, "2"]]:
        """A place for the key, and one for the player."""
        rows, columns = jax.random.randint(key, (2, 2), 0, jnp.array([[2], [5]])) + jnp.array([[1], [3]])
        false = jnp.zeros((), jnp.bool_)
        key_at, start = jnp.stack([rows, columns], axis=-1)
        return Scene(key_at, false, false, false), start + jnp.array([3, 0])

    def blocks(self, scene: Scene, phase: Int32[Array, ""], cell: Int32[Array, "2"]) -> Bool[Array, ""]:
        """The door, without the key."""
        return (phase == 2) & jnp.all(cell == jnp.array(DOOR_AT)) & ~scene.taken

    def touch(
        self, scene: Scene, phase: Int32[Array, ""], position: Int32[Array, "2"], params: Params
    ) -> tuple[Scene, Float32[Array, ""]]:
        """Take the key; open the door."""
        takes = (phase == 0) & jnp.all(position == scene.key) & ~scene.taken
        opens = (phase == 2) & jnp.all(position == jnp.array(DOOR_AT)) & ~scene.opened  # `blocks` asks for the key
        reward = jnp.where(opens, params.final_reward, 0.0).astype(jnp.float32)
        return Scene(scene.key, scene.taken | takes, takes, scene.opened | opens), reward

    def paint(self, scene: Scene, phase: Int32[Array, ""], cells: Array, corner: Int32[Array, "2"]) -> Array:
        """Key and lamp, or the door, which hides who stands in it."""
        cells = place(cells, corner, scene.key, KEY, (phase == 0) & ~scene.taken)
        cells = place(cells, corner, LAMP_AT, LIGHT, (phase == 0) & scene.lit)
        return place(cells, corner, DOOR_AT, DOOR, phase == 2)
