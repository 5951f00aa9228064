"""Returns and lengths of the episodes that end."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import Environment, Wrapper, wrappers_around
from rlformers.envs.reserved import check_names


class EpisodeStatisticsState(NamedTuple):
    """State of `EpisodeStatistics`."""

    env_state: Any
    episode_return: Float32[Array, ""]
    episode_length: Int32[Array, ""]


class EpisodeStatistics(Wrapper):
    """Adds to `info` the totals of the running episode, this step included.

    `info["episode_return"]` (float32, undiscounted) and `info["episode_length"]` (int32) are those
    of the whole episode at steps where it terminated or was truncated.

    Raises:
        UserError: The environment reports a name of `reserved.RESERVED`, or two names that would
            become one. Raised when a step is traced.
    """

    reports = ("episode_return", "episode_length")

    def inner_state(self, state: Any) -> Any:
        """The state of the wrapped environment."""
        return state.env_state

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        obs, env_state = self.env.reset_env(key, params)
        return obs, EpisodeStatisticsState(env_state, jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32))

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, env_state, reward, terminated, info = self.env.step_env(key, state.env_state, action, params)
        check_names(info, self.name, reported_by_wrappers(self.env))
        reward = jnp.reshape(jnp.asarray(reward, jnp.float32), ())  # of one entry, of integers, of more bits
        terminated = jnp.reshape(jnp.asarray(terminated, bool), ())
        episode_return = state.episode_return + reward
        episode_length = state.episode_length + 1
        info = {**info, "episode_return": episode_return, "episode_length": episode_length}
        return obs, EpisodeStatisticsState(env_state, episode_return, episode_length), reward, terminated, info


def reported_by_wrappers(env: Environment) -> set[str]:
    """The reserved names that wrappers around an environment report."""
    return {name for wrapper in wrappers_around(env) for name in getattr(wrapper, "reports", ())}
