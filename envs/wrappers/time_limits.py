"""Wrappers that end episodes after a number of steps, or say what such an end means."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, PRNGKeyArray

from rlformers.envs.environment import Environment, Wrapper
from rlformers.errors import UserError


class TimeLimitState(NamedTuple):
    """State of `TimeLimit`."""

    env_state: Any
    time: Int32[Array, ""]  # steps made in this episode


class TimeLimit(Wrapper):
    """Truncates an episode after `max_steps` steps, if the environment's own limit does not come first.

    Raises:
        UserError: `max_steps` below 1.
    """

    def __init__(self, env: Environment, max_steps: int):
        super().__init__(env)
        if max_steps < 1:
            raise UserError(f"TimeLimit: max_steps must be at least 1, got {max_steps}")
        self.max_steps = max_steps

    def inner_state(self, state: Any) -> Any:
        """The state of the wrapped environment."""
        return state.env_state

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        obs, env_state = self.env.reset_env(key, params)
        return obs, TimeLimitState(env_state, jnp.zeros((), jnp.int32))

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, env_state, reward, terminated, info = self.env.step_env(key, state.env_state, action, params)
        return obs, TimeLimitState(env_state, state.time + 1), reward, terminated, info

    def is_truncated(self, state: Any, params: Any) -> Bool[Array, ""]:
        """Whether this limit or the environment's own is reached."""
        return (state.time >= self.max_steps) | self.env.is_truncated(state.env_state, params)

    @property
    def never_truncates(self) -> bool:
        """False."""
        return False


class TruncationTerminates(Wrapper):
    """Reports every truncation as a termination: the value is cut there instead of bootstrapped.

    For limits that belong to the task, so that only what is earned until then counts. Environments
    do not agree on this: POPGym, for one, reports finite horizons as `truncated` too.
    """

    never_truncates = True

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, state, reward, terminated, info = self.env.step_env(key, state, action, params)
        return obs, state, reward, terminated | self.env.is_truncated(state, params), info

    def is_truncated(self, state: Any, params: Any) -> Bool[Array, ""]:
        """False."""
        return jnp.zeros((), jnp.bool_)
