"""MineSweeper on a board that is never shown (Morad et al. 2023; popgym 1.0.7 `minesweeper.py`)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import NoParams
from rlformers.envs.popgym.board import BoardGame
from rlformers.envs.spaces import Discrete
from rlformers.errors import UserError


class State(NamedTuple):
    """State of the game."""

    mines: Bool[Array, "n n"]
    viewed: Bool[Array, "n n"]
    over: Bool[Array, ""]  # lost or won
    time: Int32[Array, ""]  # steps made


class MineSweeper(BoardGame):
    """The agent clicks one tile (row, column) per step and sees how many mines are on it and its 8 neighbours.

    The clicked tile counts itself: the number under a mine is at least 1. Observations are
    Discrete(m + 1) with m mines, but at most Discrete(10); the first one is 0. The time limit is
    the number of free tiles, T = n² - m. Winning takes all of it, so one wasted step makes it
    impossible.

    A free tile earns 1/T, a tile clicked before -0.5/(T - 2), a mine -0.5 - 1/T. A mine and the
    last free tile terminate the episode; step T truncates it unless it terminates. popgym's Easy,
    Medium, Hard have m = 2, 6, 10 mines on 4 x 4, 6 x 6, 8 x 8 tiles. The first click may be a
    mine. Scores in the literature are of earlier versions of popgym, which allowed one step more.

    Args:
        board_size: n.
        num_mines: m.

    Raises:
        UserError: No mine, or fewer than three free tiles.
    """

    def __init__(self, board_size: int = 4, num_mines: int = 2):
        super().__init__(board_size, board_size**2 - num_mines)
        self.num_mines = num_mines
        if board_size < 2:
            raise UserError(f"env_kwargs.board_size: need at least 2, got {board_size}")
        if not 1 <= num_mines <= board_size**2 - 3:
            raise UserError(f"env_kwargs.num_mines: need 1 to {board_size**2 - 3}, got {num_mines}")

    def reset_env(self, key: PRNGKeyArray, params: NoParams) -> tuple[Int32[Array, ""], State]:
        """Lay the mines, all sets of m tiles alike likely, and show a 0."""
        num_tiles = self.board_size**2
        tiles = jnp.arange(num_tiles, dtype=jnp.int32)
        mines = jnp.zeros((num_tiles,), jnp.bool_)
        # Floyd's sampling (Bentley & Floyd 1987): a draw that is taken already is replaced by the newest tile.
        newest = range(num_tiles - self.num_mines, num_tiles)
        draws = jax.random.randint(key, (self.num_mines,), 0, jnp.asarray(newest, jnp.int32) + 1, jnp.int32)
        for new, draw in zip(newest, draws, strict=True):
            mines |= tiles == jnp.where(mines[draw], new, draw)
        board = (self.board_size, self.board_size)
        zero = jnp.zeros((), jnp.int32)
        return zero, State(mines.reshape(board), jnp.zeros(board, jnp.bool_), jnp.zeros((), jnp.bool_), zero)

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: NoParams
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Click."""
        tile = self.tile(action)
        hit, seen = jnp.any(state.mines & tile), jnp.any(state.viewed & tile)
        viewed = state.viewed | (tile & ~state.mines)
        reward = jnp.where(seen, -0.5 / (self.max_steps - 2), 1 / self.max_steps)
        reward = jnp.where(hit, -0.5 - 1 / self.max_steps, reward).astype(jnp.float32)
        over = hit | jnp.all(viewed | state.mines)
        index = jnp.arange(self.board_size)
        near = (jnp.abs(index - action[0]) <= 1)[:, None] & (jnp.abs(index - action[1]) <= 1)
        count = jnp.sum(state.mines & near, dtype=jnp.int32)
        return count, State(state.mines, viewed, over, state.time + 1), reward, over, {}

    def is_truncated(self, state: State, params: NoParams) -> Bool[Array, ""]:
        """Whether the time limit is reached in a game that is neither lost nor won."""
        return (state.time >= self.max_steps) & ~state.over

    def observation_space(self, params: NoParams) -> Discrete:
        """Mines on the clicked tile and its neighbours."""
        return Discrete(min(self.num_mines + 1, 10))
