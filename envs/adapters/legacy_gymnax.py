"""Environments with the protocol that gymnax had before 1.0: `step_env` returns one `done` for all ends."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from rlformers.envs.adapters.cast import cast
from rlformers.envs.adapters.dm_time_step import Step, TimeStepEnvironment
from rlformers.envs.spaces import Box, Discrete


class LegacyGymnax(TimeStepEnvironment):
    """Subclasses tell the ends apart, in `ends`. Actions are discrete, observations one array.

    Args:
        env: An environment of a package, with `reset_env`, `step_env` and spaces; its automatic
            reset is not used.
    """

    def __init__(self, env: Any):
        self.env = env

    @property
    def default_params(self) -> Any:
        """The package's."""
        return self.env.default_params

    def ends(self, state: Any, done: Any, info: dict[str, Any], params: Any) -> tuple[Any, Any]:
        """Whether a step terminated and whether it truncated the episode, out of what it returned."""
        raise NotImplementedError

    def report(self, state: Any) -> dict[str, Any]:
        """The info that is kept; the package's own is not."""
        return {}

    def first(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """First observation of an episode, and the package's state."""
        obs, state = self.env.reset_env(key, params)
        return cast(obs, self.observation_space(params).dtype), state

    def next(self, key: PRNGKeyArray, inner: Any, action: Any, params: Any) -> Step:
        """A step without reset."""
        obs, state, reward, done, info = self.env.step_env(key, inner, action, params)
        obs = cast(obs, self.observation_space(params).dtype)
        return Step(obs, state, reward, *self.ends(state, done, info, params), self.report(state))

    def action_space(self, params: Any = None) -> Discrete:
        """The package's actions."""
        return Discrete(int(self.env.action_space(params).n))

    def observation_space(self, params: Any) -> Box:
        """The package's observations."""
        space = self.env.observation_space(params)
        return Box(space.low, space.high, space.shape, jnp.dtype(space.dtype))

    @property
    def name(self) -> str:
        """Name of the environment."""
        return self.env.name
