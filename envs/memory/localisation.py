"""Localisation: path integration on the plane, products of elements of SE(2)."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import Number, need_at_least
from rlformers.envs.memory.probe import Probe, mark
from rlformers.envs.spaces import Box


class State(NamedTuple):
    """Pose of the walker."""

    position: Float32[Array, "2"]  # the start is the origin
    heading: Float32[Array, ""]  # radians, 0 at the start
    time: Int32[Array, ""]  # steps made


@struct.dataclass
class Params:
    """Length T."""

    length: Number = 32

    def check(self) -> None:
        """Check the values.

        Raises:
            UserError: T below 1.
        """
        need_at_least("env_params.length", self.length, 1)


class Localisation(Probe):
    """A walker is moved about and sees only its odometry; it says in which direction from the start it is.

    Every step turns the walker by ω, uniform in [-π, π), then takes it forward by v, uniform in [0,
    1): θ' = θ + ω, p' = p + v (cos θ', sin θ'). The observation, float32 [3], is (v, cos ω, sin ω)
    of the last move, the first one included. The answer is the sector of p, counted against the
    clock from the heading at the start, in which atan2(p) ∈ [2π a/S, 2π (a + 1)/S); at every step,
    from the first move on. Episodes have T steps; a right answer earns 1/T: the optimal return is
    1, up to rounding at the borders of sectors.

    Without memory it is 1/S except after the first move, where ω tells it: (1 + (T - 1)/S)/T. That
    is exact, because the heading is uniform and independent of all moves from the second on; hence
    the turns over the full circle.

    The sector and not the position itself is asked for, because the noise by which an agent of
    continuous actions explores would count as error of its memory, and because the space of answers
    and the value of guessing would depend on how far T steps lead. To know the sector takes the
    whole position: moves add up in both coordinates.

    Args:
        num_sectors: S.

    Raises:
        ValueError: S below 2.
    """

    default_params = Params()

    def __init__(self, num_sectors: int = 8):
        super().__init__(num_answers=num_sectors)
        need_at_least("env_kwargs.num_sectors", num_sectors, 2)

    def reset_env(self, key: PRNGKeyArray, params: Params) -> tuple[Float32[Array, "3"], State]:
        """Make the first move from the start."""
        return self._move(key, State(jnp.zeros(2), jnp.zeros(()), jnp.zeros((), jnp.int32)))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[Float32[Array, "3"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Judge the answer, then move on."""
        reward = mark(action == self._sector(state.position), jnp.bool_(True), params.length)
        obs, state = self._move(key, state._replace(time=state.time + 1))
        return obs, state, reward, state.time >= params.length, {}

    def _move(self, key: PRNGKeyArray, state: State) -> tuple[Float32[Array, "3"], State]:
        key_turn, key_distance = jax.random.split(key)
        turn = jax.random.uniform(key_turn, minval=-jnp.pi, maxval=jnp.pi)
        distance = jax.random.uniform(key_distance)
        heading = jnp.mod(state.heading + turn, 2 * jnp.pi)  # float32 keeps its digits near 0
        position = state.position + distance * jnp.stack([jnp.cos(heading), jnp.sin(heading)])
        obs = jnp.stack([distance, jnp.cos(turn), jnp.sin(turn)])
        return obs, state._replace(position=position, heading=heading)

    def _sector(self, position: Float32[Array, "2"]) -> Int32[Array, ""]:
        angle = jnp.mod(jnp.arctan2(position[1], position[0]), 2 * jnp.pi)
        sector = jnp.floor(angle * (self.num_answers / (2 * math.pi))).astype(jnp.int32)
        return jnp.minimum(sector, self.num_answers - 1)  # rounding may give 2π itself

    def observation_space(self, params: Params) -> Box:
        """Distance, cosine and sine of the turn."""
        return Box(-1.0, 1.0, (3,), jnp.float32)
