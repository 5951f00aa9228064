"""RockSample: which rocks are worth a visit? (Smith & Simmons 2004; sizes 11 and 15 in POBAX, Tao et al. 2025)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import PlainEnvironment, TimedParams, need_at_least
from rlformers.envs.spaces import Box, Discrete
from rlformers.errors import UserError

# North, east, south, west: changes of (row, column).
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)], np.int32)
SAMPLE = 4
REWARD = 10.0  # of a good rock and of the exit; of a bad one its negative
HALF_DISTANCE = 20.0  # cells after which a sensor's efficiency is a half


class State(NamedTuple):
    """State of the rover."""

    position: Int32[Array, "2"]  # (row, column)
    good: Bool[Array, " K"]  # rocks that pay if sampled
    time: Int32[Array, ""]  # steps made


class RockSample(PlainEnvironment):
    """A rover on n x n cells samples rocks that pay 10 if they are good and -10 if not, and leaves by the east for 10.

    Actions: 0 north, 1 east, 2 south, 3 west, 4 sample the rock here, 5 + i check rock i. A check
    tells whether the rock is good, and is right with probability (1 + 2^(-d / 20)) / 2 at the
    Euclidean distance d. A sampled rock is bad from then on. Rocks lie at the same places for ever,
    drawn from `layout`; half of them are good, independently. The episode terminates on arrival in
    the last column. Observes, float32 [2 n + K], one-hot row and column of the rover, and for every
    rock 1 (good), -1 (bad) if it was just checked, and else 0.

    These are POBAX's rules, sizes and rewards; Smith & Simmons' rover moves beyond the eastern edge
    to leave, starts in the west, and has a discount of 0.95. As in POBAX it starts anywhere but in
    the last column. Nothing moves beyond other edges.

    Args:
        size: n.
        rocks: K.
        layout: Seed of the places of the rocks, all different, none in the last column.

    Raises:
        UserError: Less than 2 cells a side, less than 1 rock, or more than there is room for.
    """

    default_params = TimedParams(max_steps_in_episode=1000)

    def __init__(self, size: int = 11, rocks: int = 11, layout: int = 0):
        need_at_least("env_kwargs.size", size, 2)
        if not 1 <= rocks <= size * (size - 1):
            raise UserError(
                f"env_kwargs.rocks: need 1 <= rocks <= size * (size - 1) = {size * (size - 1)}, got {rocks}"
            )
        need_at_least("env_kwargs.layout", layout, 0)
        self.size = size
        self.rocks = rocks
        cells = np.random.default_rng(layout).choice(size * (size - 1), rocks, replace=False)
        self.places = np.stack(np.divmod(cells, size - 1), axis=1).astype(np.int32)  # [K, 2]

    def reset_env(self, key: PRNGKeyArray, params: TimedParams) -> tuple[Float32[Array, " D"], State]:
        """Toss the rocks; start anywhere."""
        key_rocks, key_place = jax.random.split(key)
        cell = jax.random.randint(key_place, (), 0, self.size * (self.size - 1))
        position = jnp.stack([cell // (self.size - 1), cell % (self.size - 1)])
        state = State(position, jax.random.bernoulli(key_rocks, 0.5, (self.rocks,)), jnp.zeros((), jnp.int32))
        return self._see(position, jnp.zeros(self.rocks)), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: TimedParams
    ) -> tuple[Float32[Array, " D"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Move, sample or check."""
        step = jnp.where(action < SAMPLE, jnp.asarray(MOVES)[jnp.minimum(action, SAMPLE - 1)], 0)
        position = jnp.clip(state.position + step, 0, self.size - 1)
        terminated = position[1] == self.size - 1

        here = (self.places == position).all(1)
        sampled = here & (action == SAMPLE)
        reward = jnp.where(sampled, jnp.where(state.good, REWARD, -REWARD), 0.0).sum() + REWARD * terminated

        distance = jnp.linalg.norm((self.places - position).astype(jnp.float32), axis=1)
        right = jax.random.bernoulli(key, (1 + 2 ** (-distance / HALF_DISTANCE)) / 2)
        said = jnp.where(state.good == right, 1.0, -1.0)
        checked = jnp.where(jnp.arange(self.rocks) == action - SAMPLE - 1, said, 0.0)
        state = State(position, state.good & ~sampled, state.time + 1)
        return self._see(position, checked), state, reward, terminated, {}

    def _see(self, position: Int32[Array, "2"], checked: Float32[Array, " K"]) -> Float32[Array, " D"]:
        return jnp.concatenate([jax.nn.one_hot(position, self.size).ravel(), checked])

    def action_space(self, params: TimedParams | None = None) -> Discrete:
        """Four moves, sampling, and a check of each rock."""
        return Discrete(SAMPLE + 1 + self.rocks)

    def observation_space(self, params: TimedParams) -> Box:
        """Row, column, and what was just checked."""
        return Box(-1.0, 1.0, (2 * self.size + self.rocks,), jnp.float32)
