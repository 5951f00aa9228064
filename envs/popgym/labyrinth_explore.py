"""LabyrinthExplore: visit every square of a maze (Morad et al. 2023; popgym 1.0.7 `labyrinth_explore.py`)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int8, Int32, PRNGKeyArray

from rlformers.envs.environment import TimedParams
from rlformers.envs.popgym.labyrinth import FREE, NO_ACTION, Labyrinth, here


class State(NamedTuple):
    """State of the game."""

    grid: Int8[Array, "h h"]  # squares
    unexplored: Bool[Array, "h h"]  # free squares not visited yet
    position: Int32[Array, "2"]  # row, column
    time: Int32[Array, ""]  # steps made


class LabyrinthExplore(Labyrinth):
    """Visit all N free squares of a maze that has an entrance and no exit. See `Labyrinth` for what the agent sees.

    A step to a new square earns 1/N, any other step costs 1/T. The start counts as visited and is
    not one of the N. The last new square terminates the episode. In rare mazes not all squares can
    be reached, as in the original.
    """

    def reset_env(self, key: PRNGKeyArray, params: TimedParams) -> tuple[Int32[Array, "10"], State]:
        """Build a maze; go to its entrance."""
        grid, start, _ = self.build(key)
        return self.begin(grid, start)

    def begin(self, grid: Int8[Array, "h h"], start: Int32[Array, "2"]) -> tuple[Int32[Array, "10"], State]:
        """Start in a given maze."""
        return self.view(grid, start, NO_ACTION), State(grid, grid == FREE, start, jnp.zeros((), jnp.int32))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: TimedParams
    ) -> tuple[Int32[Array, "10"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Walk."""
        grid = state.grid
        position = self.move(grid, state.position, action)
        new = state.unexplored[position[0], position[1]]
        unexplored = state.unexplored & ~here(grid, position)
        reward = jnp.where(new, 1 / jnp.sum(grid == FREE), -1 / params.max_steps_in_episode).astype(jnp.float32)
        state = State(grid, unexplored, position, state.time + 1)
        return self.view(grid, position, action), state, reward, ~jnp.any(unexplored), {}
