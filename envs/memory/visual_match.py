"""VisualMatch: a colour, then a long time of apples, then a choice between colours (see `three_phases`)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.memory.three_phases import RED, Params, ThreePhases, place

CELL = """

    ###
    # #
    ###



"""
GALLERY = """
###########
#         #
#         #
#         #
####   ####
   #   #
   #####
"""
CELL_START = (2, 5)
PANELS = ((1, 2), (1, 5), (1, 8))  # red, green, blue


class Scene(NamedTuple):
    """The colour that was shown and the panels of the last room."""

    shown_at: Int32[Array, "2"]  # the coloured cell beside the player in the first room
    colour: Int32[Array, ""]  # 0 red, 1 green, 2 blue
    chosen: Bool[Array, ""]  # a panel has been touched: all are gone


class VisualMatch(ThreePhases):
    """See a colour in the first room. In the last room go to the panel of that colour, which pays `final_reward`.

    In the first room the player is walled in. One of the 8 cells around it is red, green or blue
    instead of black. In the last room a red, a green and a blue panel stand at the northern wall,
    from west to east. The first panel that is touched counts, and all disappear. (The original
    draws the order of the colours once for each environment object, not for each episode; here it
    is always this one.) By default the phases have 15, 60 and 15 steps (Ni et al. lengthen the
    second up to 1000), an apple pays 1 and the panel pays 5.

    The colour has to be kept through the second phase. With `apple_reward=0` the optimal return is
    `final_reward`, and a third of it without memory. By default it is that plus as many apples as
    one can gather.
    """

    default_params = Params(reward_steps=15)

    def __init__(self) -> None:
        super().__init__(CELL, GALLERY, reward_start=(5, 5))

    def draw_scene(self, key: PRNGKeyArray) -> tuple[Scene, Int32[Array, "2"]]:
        """A colour and the cell that shows it."""
        key_colour, key_cell = jax.random.split(key)
        start = jnp.array(CELL_START, jnp.int32)
        around = jax.random.randint(key_cell, (), 0, 8, jnp.int32)
        around = around + (around >= 4)  # of the 3 x 3 cells all but the one in the middle
        shown_at = start - 1 + jnp.stack([around // 3, around % 3])
        colour = jax.random.randint(key_colour, (), 0, len(PANELS), jnp.int32)
        return Scene(shown_at, colour, jnp.zeros((), jnp.bool_)), start

    def touch(
        self, scene: Scene, phase: Int32[Array, ""], position: Int32[Array, "2"], params: Params
    ) -> tuple[Scene, Float32[Array, ""]]:
        """Choose a panel."""
        panels = jnp.all(position == jnp.array(PANELS), axis=-1) & (phase == 2) & ~scene.chosen
        reward = jnp.where(panels[scene.colour], params.final_reward, 0.0).astype(jnp.float32)
        return scene._replace(chosen=scene.chosen | panels.any()), reward

    def paint(self, scene: Scene, phase: Int32[Array, ""], cells: Array, corner: Int32[Array, "2"]) -> Array:
        """The coloured cell, or the panels."""
        cells = place(cells, corner, scene.shown_at, RED + scene.colour, phase == 0)
        for colour, panel in enumerate(PANELS):
            cells = place(cells, corner, panel, RED + colour, (phase == 2) & ~scene.chosen)
        return cells
