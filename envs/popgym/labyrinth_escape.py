"""LabyrinthEscape: find the exit of a maze (Morad et al. 2023; popgym 1.0.7 `labyrinth_escape.py`)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int8, Int32, PRNGKeyArray

from rlformers.envs.environment import TimedParams
from rlformers.envs.popgym.labyrinth import GOAL, NO_ACTION, Labyrinth, mark


class State(NamedTuple):
    """State of the game."""

    grid: Int8[Array, "h h"]  # squares
    position: Int32[Array, "2"]  # row, column
    time: Int32[Array, ""]  # steps made


class LabyrinthEscape(Labyrinth):
    """Walk from the entrance to the exit, which is a gap in the opposite wall. See `Labyrinth` for what the agent sees.

    Every step costs 1/T. The step to the exit also earns 1 and terminates the episode, so returns
    lie in [-1, 1]. In rare mazes there is no way to the exit, as in the original.
    """

    def reset_env(self, key: PRNGKeyArray, params: TimedParams) -> tuple[Int32[Array, "10"], State]:
        """Build a maze; go to its entrance."""
        grid, start, end = self.build(key)
        return self.begin(mark(grid, end, GOAL), start)

    def begin(self, grid: Int8[Array, "h h"], start: Int32[Array, "2"]) -> tuple[Int32[Array, "10"], State]:
        """Start in a given maze."""
        return self.view(grid, start, NO_ACTION), State(grid, start, jnp.zeros((), jnp.int32))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: TimedParams
    ) -> tuple[Int32[Array, "10"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Walk."""
        position = self.move(state.grid, state.position, action)
        escaped = state.grid[position[0], position[1]] == GOAL
        reward = jnp.where(escaped, 1.0, 0.0) - 1 / params.max_steps_in_episode
        state = State(state.grid, position, state.time + 1)
        return self.view(state.grid, position, action), state, reward.astype(jnp.float32), escaped, {}
