"""Environments that return time steps, after dm_env: reward, discount, step type and observation in one object.

Their packages tell in one field whether and how an episode ends. Here that becomes `terminated`,
and a flag in the state for `is_truncated`. Their automatic resets are not used.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, PRNGKeyArray

from rlformers.envs.adapters.cast import cast, like, strong
from rlformers.envs.environment import PlainEnvironment


class Step(NamedTuple):
    """What a package's step comes to."""

    observation: Any  # in the space of observations
    inner: Any  # the package's state after the step
    reward: Any
    terminated: Any
    truncated: Any
    info: dict[str, Any] = {}


class TimeStepState(NamedTuple):
    """State of a `TimeStepEnvironment`."""

    inner: Any  # the package's state
    truncated: Bool[Array, ""]  # the last step hit the time limit, and nothing else


class TimeStepEnvironment(PlainEnvironment):
    """Subclasses call their package in `first` and `next`, and describe the spaces."""

    def first(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """First observation of an episode, and the package's state."""
        raise NotImplementedError

    def next(self, key: PRNGKeyArray, inner: Any, action: Any, params: Any) -> Step:
        """A step without reset. Most packages keep random keys in their states and leave this one alone."""
        raise NotImplementedError

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, TimeStepState]:
        """Start an episode."""
        obs, inner = self.first(key, params)
        return strong(obs), TimeStepState(strong(inner), jnp.zeros((), jnp.bool_))

    def step_env(
        self, key: PRNGKeyArray, state: TimeStepState, action: Any, params: Any
    ) -> tuple[Any, TimeStepState, Float32[Array, ""], Bool[Array, ""], dict]:
        """Make a step, without automatic reset."""
        step = self.next(key, state.inner, action, params)
        after = TimeStepState(like(step.inner, state.inner), cast(step.truncated, jnp.bool_))
        reward, terminated = cast(step.reward, jnp.float32), cast(step.terminated, jnp.bool_)
        return strong(step.observation), after, reward, terminated, strong(step.info)

    def is_truncated(self, state: TimeStepState, params: Any) -> Bool[Array, ""]:
        """Whether the last step hit the time limit."""
        return state.truncated
