"""What both Labyrinths share: walking in a maze and seeing 3 x 3 squares (popgym 1.0.7 `core/maze.py`)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int8, Int32, PRNGKeyArray

from rlformers.envs.environment import PlainEnvironment, TimedParams, checked
from rlformers.envs.popgym.maze import hunt_and_kill
from rlformers.envs.spaces import Discrete, MultiDiscrete
from rlformers.errors import UserError

FREE, OBSTACLE, START, GOAL = range(4)  # squares; the observation space has a fifth, which is never seen
NO_ACTION = 4  # shown in the first observation
MOVES = ((0, -1), (0, 1), (-1, 0), (1, 0))  # left, right, up, down


class Labyrinth(PlainEnvironment):
    """A maze of (`maze_size` + 1)² squares, h x h; actions are left, right, up, down, Discrete(4).

    A move into an obstacle or off the maze does nothing. Observations, MultiDiscrete, int32 [10],
    are the 3 x 3 squares around the agent, row by row, and the last action (4 at first). Squares: 0
    free, 1 obstacle, 2 start, 3 goal. In the first row or column the view has its corner on the
    agent, not its centre: it then shows the first two rows or columns, and obstacles as the third.
    popgym's Easy, Medium, Hard are mazes of 10, 14, 18.

    The time limit comes one step early: the episode is truncated after T - 1 = 1023 steps, and that
    step may terminate it too. popgym's authors advise against these two as tests of memory:
    networks without memory do well.

    Mazes and entrances have the distribution of the original (see `maze.hunt_and_kill`).

    Args:
        maze_size: h - 1.
        max_steps_in_episode: T of `default_params`.

    Raises:
        UserError: A `maze_size` that is odd or not within 6 ... 30.
    """

    def __init__(self, maze_size: int = 10, max_steps_in_episode: int = 1024):
        if maze_size % 2 or not 6 <= maze_size <= 30:
            raise UserError(f"env_kwargs.maze_size: need an even number from 6 to 30, got {maze_size}")
        self.maze_size = maze_size
        self.default_params = checked(TimedParams(max_steps_in_episode=max_steps_in_episode))

    def build(self, key: PRNGKeyArray) -> tuple[Int8[Array, "h h"], Int32[Array, "2"], Int32[Array, "2"]]:
        """A maze with START at its entrance, and its entrance and exit, (row, column), in opposite walls."""
        key_maze, key_side, key_places = jax.random.split(key, 3)
        num_cells = self.maze_size // 2
        free = hunt_and_kill(key_maze, num_cells)
        side = jax.random.randint(key_side, (), 0, 4, jnp.int32)
        near = jnp.where(side % 2 == 0, 0, self.maze_size)
        along = 2 * jax.random.randint(key_places, (2,), 0, num_cells, jnp.int32) + 1
        start, end = jnp.stack([near, along[0]]), jnp.stack([self.maze_size - near, along[1]])
        start, end = (jnp.where(side < 2, place, place[::-1]) for place in (start, end))
        return mark(jnp.where(free, FREE, OBSTACLE).astype(jnp.int8), start, START), start, end

    def move(self, grid: Int8[Array, "h h"], position: Int32[Array, "2"], action: Any) -> Int32[Array, "2"]:
        """Where an action leads."""
        target = jnp.clip(position + jnp.array(MOVES, jnp.int32)[action], 0, self.maze_size)
        return jnp.where(grid[target[0], target[1]] == OBSTACLE, position, target)

    def view(self, grid: Int8[Array, "h h"], position: Int32[Array, "2"], action: Any) -> Int32[Array, "10"]:
        """The observation at a position after an action."""
        corner = jnp.maximum(position - 1, 0)
        padded = jnp.pad(grid, ((0, 1), (0, 1)), constant_values=OBSTACLE)
        window = jax.lax.dynamic_slice(padded, corner, (3, 3)).astype(jnp.int32)
        rows, columns = corner[:, None] + jnp.arange(3) <= position[:, None] + 1
        window = jnp.where(rows[:, None] & columns, window, OBSTACLE)
        return jnp.append(window.ravel(), jnp.asarray(action, jnp.int32))

    def is_truncated(self, state: Any, params: TimedParams) -> Bool[Array, ""]:
        """Whether T - 1 steps are made."""
        return state.time >= params.max_steps_in_episode - 1

    def action_space(self, params: TimedParams | None = None) -> Discrete:
        """Left, right, up, down."""
        return Discrete(4)

    def observation_space(self, params: TimedParams) -> MultiDiscrete:
        """Nine squares and an action."""
        return MultiDiscrete([5] * 10)


def mark(grid: Int8[Array, "h h"], place: Int32[Array, "2"], square: int) -> Int8[Array, "h h"]:
    """The maze with another square at (row, column)."""
    return jnp.where(here(grid, place), jnp.int8(square), grid)


def here(grid: Int8[Array, "h h"], place: Int32[Array, "2"]) -> Bool[Array, "h h"]:
    """True at (row, column) only."""
    index = jnp.arange(len(grid))
    return (index[:, None] == place[0]) & (index == place[1])
