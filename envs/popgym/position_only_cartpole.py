"""PositionOnlyCartPole: balance without seeing velocities (Morad et al. 2023, where it is StatelessCartPole).

popgym 1.0.7 `position_only_cartpole.py`, MIT.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float32, PRNGKeyArray

from rlformers.envs.popgym.cartpole import CartPole, Params, State
from rlformers.envs.spaces import Box


class PositionOnlyCartPole(CartPole):
    """`CartPole` whose observation is (x, θ), in m and rad."""

    def observe(self, key: PRNGKeyArray, state: State, action: Any, params: Params) -> Float32[Array, "2"]:
        """The positions."""
        return jnp.stack([state.x, state.theta]).astype(jnp.float32)

    def observation_space(self, params: Params) -> Box:
        """Twice the thresholds, as in gymnasium, so that the failing observation is within."""
        high = jnp.array([2 * params.x_threshold, 2 * params.theta_threshold_radians], jnp.float32)
        return Box(-high, high, (2,), jnp.float32)
