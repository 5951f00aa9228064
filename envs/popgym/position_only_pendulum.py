"""PositionOnlyPendulum: swing up without seeing the velocity (Morad et al. 2023, where it is StatelessPendulum).

popgym 1.0.7 `position_only_pendulum.py`, over gymnasium 1.x `classic_control/pendulum.py`, both
MIT.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import Number, PlainEnvironment, TimedParams, checked
from rlformers.envs.spaces import Box

# The largest cost of a step, π² + 0.1·8² + 0.001·2², as popgym rounds it.
MAX_COST = 16.2736044


class State(NamedTuple):
    """State of the pendulum. Steps keep the precision of the state they are given."""

    theta: Float[Array, ""]  # rad from upright, not wrapped
    theta_dot: Float[Array, ""]  # rad/s
    time: Int32[Array, ""]  # steps made


@struct.dataclass
class Params(TimedParams):
    """Time limit T, and gymnasium's physical constants in SI units."""

    max_speed: Number = 8.0
    max_torque: Number = 2.0
    dt: Number = 0.05
    g: Number = 10.0
    m: Number = 1.0
    l: Number = 1.0  # noqa: E741 (gymnasium's name)


class PositionOnlyPendulum(PlainEnvironment):
    """Pendulum whose observation is (cos θ, sin θ), float32 [2]; the action is a torque in N·m, float32 [1], clipped.

    Reward (1 - 2·cost/16.27)/T of the state before the step, so that returns lie in [-1, 1].
    Episodes never terminate: the T-th step truncates. popgym's Easy, Medium, Hard are T = 200, 150,
    100.

    Args:
        max_steps_in_episode: T of `default_params`.

    Raises:
        ValueError: `max_steps_in_episode` below 1.
    """

    def __init__(self, max_steps_in_episode: int = 200):
        self.default_params = checked(Params(max_steps_in_episode=max_steps_in_episode))

    def reset_env(self, key: PRNGKeyArray, params: Params) -> tuple[Float32[Array, "2"], State]:
        """θ uniform in ±π, angular velocity uniform in ±1."""
        high = jnp.array([math.pi, 1.0], jnp.float32)
        theta, theta_dot = jax.random.uniform(key, (2,), jnp.float32, -high, high)
        state = State(theta, theta_dot, jnp.zeros((), jnp.int32))
        return self.observe(key, state, None, params), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[Float32[Array, "2"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """One semi-implicit Euler step."""
        theta, theta_dot, time = state
        torque = jnp.clip(jnp.reshape(action, ()), -params.max_torque, params.max_torque)
        angle = (theta + math.pi) % (2 * math.pi) - math.pi
        cost = angle**2 + 0.1 * theta_dot**2 + 0.001 * torque**2
        gravity = 3 * params.g / (2 * params.l) * jnp.sin(theta)
        theta_dot = theta_dot + (gravity + 3 / (params.m * params.l**2) * torque) * params.dt
        theta_dot = jnp.clip(theta_dot, -params.max_speed, params.max_speed)
        state = State(theta + theta_dot * params.dt, theta_dot, time + 1)
        reward = (1 - cost / (MAX_COST / 2)) / params.max_steps_in_episode
        return self.observe(key, state, action, params), state, reward.astype(jnp.float32), jnp.zeros((), jnp.bool_), {}

    def observe(self, key: PRNGKeyArray, state: State, action: Any, params: Params) -> Float32[Array, "2"]:
        """The direction."""
        return jnp.stack([jnp.cos(state.theta), jnp.sin(state.theta)]).astype(jnp.float32)

    def action_space(self, params: Params | None = None) -> Box:
        """Torque in N·m."""
        max_torque = (params or self.default_params).max_torque
        return Box(-max_torque, max_torque, (1,), jnp.float32)

    def observation_space(self, params: Params) -> Box:
        """Cosine and sine."""
        return Box(-1.0, 1.0, (2,), jnp.float32)
