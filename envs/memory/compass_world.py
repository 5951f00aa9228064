"""Compass World: find out where one stands from the colours of walls (Rafols et al. 2005; POBAX, Tao et al. 2025)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import PlainEnvironment, TimedParams, need_at_least
from rlformers.envs.spaces import Discrete

NORTH, EAST, SOUTH, WEST = range(4)
# Changes of (row, column), one for every way to face.
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)], np.int32)
NOTHING, ORANGE, YELLOW, RED, BLUE, GREEN = range(6)  # what is seen: the north's wall and so on clockwise, and green


class State(NamedTuple):
    """Where the agent stands, and which way it faces."""

    position: Int32[Array, "2"]  # (row, column)
    facing: Int32[Array, ""]  # north, east, south, west
    time: Int32[Array, ""]  # steps made


class CompassWorld(PlainEnvironment):
    """A room whose walls differ in colour, which an agent sees only with its nose to them; the goal is the green cell.

    Actions: 0 forward, 1 turn right, 2 turn left. Observes Discrete(6): 0 nothing, else the colour
    of the wall right ahead, orange (north), yellow (east), red (south), blue (west), or green, the
    westernmost cell of the first row, facing west. To face green pays 1 and terminates the episode;
    it starts anywhere else, facing any way.

    A room of n x n cells is POBAX's of size n + 2, which counts the walls. Its limit is 1000 steps,
    within which chance finds the goal, too, so that only a discount tells agents apart; here it is
    50.

    Args:
        size: n.

    Raises:
        UserError: Less than 2 cells a side.
    """

    default_params = TimedParams(max_steps_in_episode=50)

    def __init__(self, size: int = 6):
        need_at_least("env_kwargs.size", size, 2)
        self.size = size

    def reset_env(self, key: PRNGKeyArray, params: TimedParams) -> tuple[Int32[Array, ""], State]:
        """Start anywhere but at the goal."""
        number = jax.random.randint(key, (), 0, 4 * self.size**2 - 1)
        number = number + (number >= WEST)  # 3 is the goal: facing west in cell 0
        cell, facing = number // 4, number % 4
        state = State(jnp.stack([cell // self.size, cell % self.size]), facing, jnp.zeros((), jnp.int32))
        return self._see(state), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: TimedParams
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Go forward if there is no wall, or turn."""
        ahead = jnp.clip(state.position + jnp.asarray(MOVES)[state.facing], 0, self.size - 1)
        position = jnp.where(action == 0, ahead, state.position)
        turn = jnp.asarray([0, 1, -1], jnp.int32)[action]
        state = State(position, jnp.mod(state.facing + turn, 4), state.time + 1)
        obs = self._see(state)
        return obs, state, (obs == GREEN).astype(jnp.float32), obs == GREEN, {}

    def _see(self, state: State) -> Int32[Array, ""]:
        ahead = state.position + jnp.asarray(MOVES)[state.facing]
        wall = ((ahead < 0) | (ahead >= self.size)).any()
        green = (state.facing == WEST) & (state.position == 0).all()
        color = jnp.where(green, GREEN, ORANGE + state.facing)
        return jnp.where(wall, color, NOTHING).astype(jnp.int32)

    def action_space(self, params: TimedParams | None = None) -> Discrete:
        """Forward, turn right, turn left."""
        return Discrete(3)

    def observation_space(self, params: TimedParams) -> Discrete:
        """Nothing, or one of five colours."""
        return Discrete(6)
