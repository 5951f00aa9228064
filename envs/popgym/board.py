"""What games on a square board of hidden tiles share: the agent names a tile at every step and sees only numbers."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool

from rlformers.envs.environment import NoParams, PlainEnvironment
from rlformers.envs.spaces import MultiDiscrete


class BoardGame(PlainEnvironment):
    """A game on `board_size` x `board_size` tiles. Actions are (row, column), MultiDiscrete, int32 [2].

    Observations do not say which tile they are about. The previous action does, so the games cannot
    be played well without it. `make_env` adds it.

    Args:
        board_size: Tiles along one side, n.
        max_steps: Steps after which the game is truncated.
    """

    def __init__(self, board_size: int, max_steps: int):
        self.board_size = board_size
        self.max_steps = max_steps

    def tile(self, action: Any) -> Bool[Array, "n n"]:
        """The board with True at the tile that the action names."""
        index = jnp.arange(self.board_size)
        return (index[:, None] == action[0]) & (index == action[1])

    def is_truncated(self, state: Any, params: NoParams) -> Bool[Array, ""]:
        """Whether the time limit is reached."""
        return state.time >= self.max_steps

    def action_space(self, params: NoParams | None = None) -> MultiDiscrete:
        """Row and column."""
        return MultiDiscrete([self.board_size] * 2)
