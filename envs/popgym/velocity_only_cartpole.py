"""VelocityOnlyCartPole: balance without seeing positions (popgym 1.0.7 `velocity_only_cartpole.py`, MIT).

Added to popgym after the paper, which has no results of it.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float32, PRNGKeyArray

from rlformers.envs.popgym.cartpole import CartPole, Params, State
from rlformers.envs.spaces import Box


class VelocityOnlyCartPole(CartPole):
    """`CartPole` whose observation is (ẋ, θ̇), in m/s and rad/s, after the first, which is (x, θ), in m and rad.

    That popgym shows positions at the reset may be an oversight, but it is what makes θ known at
    all later.
    """

    def observe(self, key: PRNGKeyArray, state: State, action: Any, params: Params) -> Float32[Array, "2"]:
        """The velocities, or the positions before the first step."""
        positions = jnp.stack([state.x, state.theta])
        velocities = jnp.stack([state.x_dot, state.theta_dot])
        return jnp.where(state.time == 0, positions, velocities).astype(jnp.float32)

    def observation_space(self, params: Params) -> Box:
        """Unbounded."""
        return Box(-jnp.inf, jnp.inf, (2,), jnp.float32)
