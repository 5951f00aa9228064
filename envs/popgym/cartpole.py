"""The cart-pole of gymnasium 1.x (`classic_control/cartpole.py`, MIT) with rewards and time limits of popgym 1.0.7."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import Number, PlainEnvironment, TimedParams, checked
from rlformers.envs.spaces import Discrete


class State(NamedTuple):
    """State of cart and pole. Steps keep the precision of the state they are given."""

    x: Float[Array, ""]  # m
    x_dot: Float[Array, ""]  # m/s
    theta: Float[Array, ""]  # rad from upright
    theta_dot: Float[Array, ""]  # rad/s
    time: Int32[Array, ""]  # steps made


@struct.dataclass
class Params(TimedParams):
    """Time limit T, and gymnasium's physical constants in SI units."""

    gravity: Number = 9.8
    masscart: Number = 1.0
    masspole: Number = 0.1
    length: Number = 0.5  # half the length of the pole
    force_mag: Number = 10.0
    tau: Number = 0.02  # seconds per step
    x_threshold: Number = 2.4
    theta_threshold_radians: Number = 12 * 2 * math.pi / 360


class CartPole(PlainEnvironment):
    """Cart-pole. A subclass shows a part of the state, float32 [2]. Actions push left (0) or right (1).

    Every step pays 1/T, even the step that fails (popgym's -1 for a failure cannot occur), so
    returns lie in [0, 1]. Falling or leaving the track terminates, the T-th step truncates; a fall
    at step T does both. popgym's Easy, Medium, Hard are T = 200, 400, 600.

    Args:
        max_steps_in_episode: T of `default_params`.

    Raises:
        ValueError: `max_steps_in_episode` below 1.
    """

    def __init__(self, max_steps_in_episode: int = 200):
        self.default_params = checked(Params(max_steps_in_episode=max_steps_in_episode))

    def reset_env(self, key: PRNGKeyArray, params: Params) -> tuple[Float32[Array, "2"], State]:
        """All four variables uniform in ±0.05."""
        x, x_dot, theta, theta_dot = jax.random.uniform(key, (4,), jnp.float32, -0.05, 0.05)
        state = State(x, x_dot, theta, theta_dot, jnp.zeros((), jnp.int32))
        return self.observe(key, state, None, params), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[Float32[Array, "2"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """One explicit Euler step of Barto, Sutton & Anderson's equations, as corrected by Florian (2007)."""
        x, x_dot, theta, theta_dot, time = state
        force = jnp.where(action == 1, params.force_mag, -params.force_mag)
        total_mass = params.masscart + params.masspole
        polemass_length = params.masspole * params.length
        cos, sin = jnp.cos(theta), jnp.sin(theta)
        push = (force + polemass_length * theta_dot**2 * sin) / total_mass
        theta_acc = (params.gravity * sin - cos * push) / (
            params.length * (4 / 3 - params.masspole * cos**2 / total_mass)
        )
        x_acc = push - polemass_length * theta_acc * cos / total_mass
        state = State(
            x + params.tau * x_dot,
            x_dot + params.tau * x_acc,
            theta + params.tau * theta_dot,
            theta_dot + params.tau * theta_acc,
            time + 1,
        )
        terminated = (jnp.abs(state.x) > params.x_threshold) | (jnp.abs(state.theta) > params.theta_threshold_radians)
        reward = jnp.asarray(1 / params.max_steps_in_episode, jnp.float32)
        return self.observe(key, state, action, params), state, reward, terminated, {}

    def action_space(self, params: Params | None = None) -> Discrete:
        """Left (0) and right (1)."""
        return Discrete(2)
