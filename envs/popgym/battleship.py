"""Battleship: sink ships on a board that is never shown (Morad et al. 2023; popgym 1.0.7 `battleship.py`)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray, UInt32

from rlformers.envs.environment import NoParams
from rlformers.envs.popgym.board import BoardGame
from rlformers.envs.popgym.draw import draw_index
from rlformers.envs.spaces import Discrete
from rlformers.errors import UserError


class State(NamedTuple):
    """State of the game."""

    ships: Bool[Array, "n n"]  # tiles of ships that are not hit yet
    time: Int32[Array, ""]  # steps made


class Battleship(BoardGame):
    """The agent fires at one tile (row, column) per step and sees 1 for a hit and 0 for a miss, Discrete(2).

    Firing again at a tile that was hit is a miss. With n x n tiles, S of them ships, a hit earns 1/S and a miss
    -1/(n² - S): hits alone make 1, every tile once makes 0. The last hit terminates the episode, step n² truncates it,
    and a last hit at step n² does both. popgym's Easy, Medium, Hard are n = 8, 10, 12 with ships of 2, 3, 3, 4 tiles.

    Args:
        board_size: n.
        ship_sizes: Tiles of each ship. Ships do not overlap, but may touch.

    Raises:
        UserError: A board above 31 x 31, or ships that may leave no room for the next one.
    """

    def __init__(self, board_size: int = 8, ship_sizes: Sequence[int] = (2, 3, 3, 4)):
        super().__init__(board_size, board_size**2)
        self.ship_sizes = tuple(ship_sizes)
        self.num_targets = sum(self.ship_sizes)
        if not 2 <= board_size <= 31:
            raise UserError(f"env_kwargs.board_size: need 2 to 31, got {board_size}")
        if not self.ship_sizes or min(self.ship_sizes) < 1:
            raise UserError(f"env_kwargs.ship_sizes: need one or more sizes of at least 1, got {self.ship_sizes}")
        for i, size in enumerate(self.ship_sizes):
            # A ship of k tiles is in the way of k + size - 1 places along its own line and of at most k * size across.
            blocked = sum(k + size - 1 + k * size for k in self.ship_sizes[:i])
            if 2 * board_size * (board_size - size + 1) <= blocked or self.num_targets >= board_size**2:
                raise UserError(
                    f"env_kwargs.ship_sizes: need ships that always leave room for the next and for water on a board "
                    f"of {board_size} x {board_size} tiles, got {self.ship_sizes}"
                )

    def reset_env(self, key: PRNGKeyArray, params: NoParams) -> tuple[Int32[Array, ""], State]:
        """Place the ships one by one, each uniformly over the places that are left, and show a 0."""
        lines = jnp.zeros((2, self.board_size), jnp.int32)
        draws = jax.random.bits(key, (len(self.ship_sizes), 2), jnp.uint32)
        for size, bits in zip(self.ship_sizes, draws, strict=True):
            lines = self._place(bits, lines, size)
        zero = jnp.zeros((), jnp.int32)
        ships = (lines[0][:, None] >> jnp.arange(self.board_size, dtype=jnp.int32)) & 1
        return zero, State(ships.astype(jnp.bool_), zero)

    def _place(self, bits: UInt32[Array, "2"], lines: Int32[Array, "2 n"], size: int) -> Int32[Array, "2 n"]:
        """Add a ship. Line [0, r] has bit c set, and line [1, c] has bit r, if the tile (r, c) is taken.

        popgym draws an end and a direction until the ship fits, which makes all places that are
        left equally likely.
        """
        tiles = jnp.arange(self.board_size, dtype=jnp.int32)
        taken = lines
        for i in range(1, size):
            taken = taken | (lines >> i)
        starts = tiles[: self.board_size - size + 1]
        free = (~taken & ((1 << len(starts)) - 1)).ravel()  # bit s of a line: the ship may lie on tiles s, s + 1, ...
        index = draw_index(bits[0], jax.lax.population_count(free))
        start = draw_index(bits[1], (free[index] >> starts) & 1)
        ship = ((1 << size) - 1) << start
        across, line = jnp.divmod(index, self.board_size)
        along = jnp.where(tiles == line, ship, 0)
        crossing = ((ship >> tiles) & 1) << line
        return lines | jnp.where(tiles[:2, None] == across, along, crossing)

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: NoParams
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Fire."""
        tile = self.tile(action)
        hit = jnp.any(state.ships & tile)
        ships = state.ships & ~tile
        reward = jnp.where(hit, 1 / self.num_targets, -1 / (self.max_steps - self.num_targets)).astype(jnp.float32)
        return hit.astype(jnp.int32), State(ships, state.time + 1), reward, ~jnp.any(ships), {}

    def observation_space(self, params: NoParams) -> Discrete:
        """Miss (0) or hit (1)."""
        return Discrete(2)
