"""NoisyPositionOnlyCartPole and NoisyPositionOnlyPendulum: also the positions are uncertain (Morad et al. 2023).

popgym 1.0.7 `noisy_position_only_cartpole.py` and `noisy_position_only_pendulum.py`, MIT;
NoisyStateless* in the paper.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, PRNGKeyArray

from rlformers.envs.environment import Environment, Wrapper
from rlformers.envs.popgym.position_only_cartpole import PositionOnlyCartPole
from rlformers.envs.popgym.position_only_pendulum import PositionOnlyPendulum
from rlformers.errors import UserError


class ClippedNoise(Wrapper):
    """Adds Gaussian noise of standard deviation `noise_sigma` to every entry, then clips to the observation space.

    Rewards and ends are those of the true state. The first observation is noisy, too.

    Raises:
        UserError: `noise_sigma` is negative or not finite.
    """

    def __init__(self, env: Environment, noise_sigma: float):
        super().__init__(env)
        if not 0 <= noise_sigma < math.inf:
            raise UserError(f"env_kwargs.noise_sigma: need 0 or a positive number, got {noise_sigma}")
        self.noise_sigma = noise_sigma

    def noise(self, key: PRNGKeyArray, state: Any) -> Float32[Array, "2"]:
        """What is added to the observation of a state."""
        return self.noise_sigma * jax.random.normal(key, (2,), jnp.float32)

    def disturb(self, key: PRNGKeyArray, obs: Float32[Array, "2"], state: Any, params: Any) -> Float32[Array, "2"]:
        """Add noise and clip."""
        space = self.env.observation_space(params)
        return jnp.clip(obs + self.noise(key, state), space.low, space.high)

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Float32[Array, "2"], Any]:
        """Start an episode."""
        key_env, key_noise = jax.random.split(key)
        obs, state = self.env.reset_env(key_env, params)
        return self.disturb(key_noise, obs, state, params), state

    def step_env(
        self, key: PRNGKeyArray, state: Any, action: Any, params: Any
    ) -> tuple[Float32[Array, "2"], Any, Float32[Array, ""], Bool[Array, ""], dict]:
        """Make a step."""
        key_env, key_noise = jax.random.split(key)
        obs, state, reward, terminated, info = self.env.step_env(key_env, state, action, params)
        return self.disturb(key_noise, obs, state, params), state, reward, terminated, info


class NoisyPositionOnlyCartPole(ClippedNoise):
    """`PositionOnlyCartPole` with noise (in m and in rad). popgym's Easy, Medium, Hard are 0.1, 0.2, 0.3; T = 200.

    The pole falls at 0.209 rad: a single observation tells little.
    """

    def __init__(self, noise_sigma: float = 0.1, max_steps_in_episode: int = 200):
        super().__init__(PositionOnlyCartPole(max_steps_in_episode), noise_sigma)


class NoisyPositionOnlyPendulum(ClippedNoise):
    """`PositionOnlyPendulum` with noise. popgym's Easy, Medium, Hard are 0.1, 0.2, 0.3; T = 200."""

    def __init__(self, noise_sigma: float = 0.1, max_steps_in_episode: int = 200):
        super().__init__(PositionOnlyPendulum(max_steps_in_episode), noise_sigma)
