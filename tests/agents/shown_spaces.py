"""An environment of any observation space, for tests of what is made of observations."""

import jax.numpy as jnp

from rlformers.envs import spaces
from rlformers.envs.environment import Environment


class Shows(Environment):
    """An environment that only shows observations drawn from a space."""

    default_params = None

    def __init__(self, space):
        self.space = space

    def observation_space(self, params):
        return self.space

    def action_space(self, params):
        return spaces.Discrete(2)

    def reset_env(self, key, params):
        return spaces.sample(self.space, key), jnp.zeros(())

    def step_env(self, key, state, action, params):
        return spaces.sample(self.space, key), state, jnp.zeros(()), jnp.zeros((), bool), {}
