"""T-mazes: carry one bit along a corridor (Bakker 2001, in the form of Ni et al. 2023, their `envs/tmaze.py`, MIT).

      g₁      corridor of length L from s to the junction j, where the goal is above (y = 1) or below (y = -1);
o-s---j       passive: oracle o and start s are the same place, x = 0; active: o at x = 0, s at x = 1.
      g₂
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import Number, PlainEnvironment, need_at_least
from rlformers.envs.spaces import Box, Discrete


class State(NamedTuple):
    """State of the maze."""

    x: Int32[Array, ""]
    y: Int32[Array, ""]
    goal_y: Int32[Array, ""]  # 1 or -1
    oracle_visited: Bool[Array, ""]  # the oracle speaks only once
    time: Int32[Array, ""]  # steps made


@struct.dataclass
class Params:
    """Length L of the corridor."""

    length: Number = 10

    def check(self) -> None:
        """Check the values.

        Raises:
            UserError: L below 1.
        """
        need_at_least("env_params.length", self.length, 1)


class TMaze(PlainEnvironment):
    """Walk to the junction and turn to the side that the oracle showed once.

    Actions: 0 right, 1 up, 2 left, 3 down; a move into a wall does nothing. Observations, float32
    [2], hide the place in the corridor: (0, goal_y) on the first visit to the oracle and (0, 0) on
    later ones, (0, 0) in the corridor, (1, y) in the junction's column. The episode terminates
    after exactly L + 1 (passive) or L + 3 (active) steps, the fewest in which an agent that heard
    the oracle can reach the goal. The last step earns 1 on the goal, else 0. Every earlier step
    earns -1/L if the agent is behind schedule: x < t after t steps, in the active maze x < t - 1,
    because of the detour to the oracle.

    The optimal return is 1. Without memory of the cue it is at most 0.5 (a coin flip at the
    junction).

    Args:
        active: The agent starts one step right of the oracle and must go left first to see the cue.
    """

    default_params = Params()
    never_truncates = True

    def __init__(self, active: bool = False):
        self.oracle_length = int(active)

    def reset_env(self, key: PRNGKeyArray, params: Params) -> tuple[Float32[Array, "2"], State]:
        """Toss the side of the goal; go to the start."""
        goal_y = jnp.where(jax.random.bernoulli(key), 1, -1).astype(jnp.int32)
        zero = jnp.zeros((), jnp.int32)
        x = zero + self.oracle_length
        state = State(x, zero, goal_y, x == 0, zero)
        return self._observe(state, x == 0, params), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[Float32[Array, "2"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Move, if there is no wall."""
        junction = params.length + self.oracle_length
        x = state.x + jnp.where(action == 0, 1, 0) - jnp.where(action == 2, 1, 0)
        y = state.y + jnp.where(action == 1, 1, 0) - jnp.where(action == 3, 1, 0)
        free = jnp.where(y == 0, (x >= 0) & (x <= junction), (x == junction) & (jnp.abs(y) == 1))
        x, y = jnp.where(free, x, state.x), jnp.where(free, y, state.y)
        time = state.time + 1
        first_visit = (x == 0) & ~state.oracle_visited
        state = State(x, y, state.goal_y, state.oracle_visited | first_visit, time)
        terminated = time >= params.length + 2 * self.oracle_length + 1
        on_the_way = jnp.where(x < time - self.oracle_length, -1 / params.length, 0.0)
        reward = jnp.where(terminated, (y == state.goal_y).astype(jnp.float32), on_the_way)
        return self._observe(state, first_visit, params), state, reward.astype(jnp.float32), terminated, {}

    def _observe(self, state: State, cue: Bool[Array, ""], params: Params) -> Float32[Array, "2"]:
        at_junction = state.x == params.length + self.oracle_length
        return jnp.stack([at_junction, jnp.where(cue, state.goal_y, state.y)]).astype(jnp.float32)

    def action_space(self, params: Params | None = None) -> Discrete:
        """Right, up, left, down."""
        return Discrete(4)

    def observation_space(self, params: Params) -> Box:
        """Whether at the junction, and the cue or y."""
        return Box(-1.0, 1.0, (2,), jnp.float32)
