"""Wrappers that change when the agent acts and when it is paid."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, PRNGKeyArray

from rlformers.envs.adapters.host import on_host
from rlformers.envs.environment import Environment, Wrapper, unwrapped
from rlformers.errors import UserError

__all__ = ["ActionRepeat", "RewardDelay", "RewardDelayState"]


class ActionRepeat(Wrapper):
    """Repeats every action k times, or until the episode ends, and pays the sum of the rewards.

    Observation and `info` are those of the last step made. The wrapped environment counts its own
    steps, so its time limit may end an episode in the middle of a repetition.

    Args:
        env: Any environment.
        repeats: k.

    Raises:
        UserError: `repeats` below 1. The message names `wrap.action_repeat`.
    """

    def __init__(self, env: Environment, repeats: int):
        super().__init__(env)
        if repeats < 1:
            raise UserError(f"wrap.action_repeat: need at least 1, got {repeats!r}")
        self.repeats = repeats
        if on_host(env):
            unwrapped(env).makes_steps_at_once(repeats)

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make up to k steps, without automatic reset."""

        def substep(carry: tuple[Any, Array], key: PRNGKeyArray) -> tuple[tuple[Any, Array], None]:
            last, ended = carry
            obs, state, reward, terminated, info = self.env.step_env(key, last[1], action, params)
            new = (obs, state, last[2] + reward, terminated, info)
            new = jax.tree.map(lambda old, new: jnp.where(ended, old, new), last, new)
            return (new, ended | terminated | self.env.is_truncated(state, params)), None

        # The first step replaces all of this but the state.
        like = jax.eval_shape(self.env.step_env, key, state, action, params)
        obs, _, reward, terminated, info = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
        start = (obs, state, reward, terminated, info), jnp.zeros((), bool)
        (last, _), _ = jax.lax.scan(substep, start, jax.random.split(key, self.repeats))
        return last


class RewardDelayState(NamedTuple):
    """State of `RewardDelay`."""

    env_state: Any
    pending: Float32[Array, " d"]  # rewards not yet paid, oldest first


class RewardDelay(Wrapper):
    """Pays every reward d steps later. The last step pays the rest, so returns do not change.

    Put time limits inside, so that this wrapper sees the end of the episode. If d is larger than
    any episode, everything is paid at the end.

    Args:
        env: Any environment.
        steps: d.

    Raises:
        UserError: `steps` below 1. The message names `wrap.reward_delay`.
    """

    def __init__(self, env: Environment, steps: int):
        super().__init__(env)
        if steps < 1:
            raise UserError(f"wrap.reward_delay: need at least 1, got {steps!r}")
        self.steps = steps

    def inner_state(self, state: Any) -> Any:
        """The state of the wrapped environment."""
        return state.env_state

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        obs, env_state = self.env.reset_env(key, params)
        return obs, RewardDelayState(env_state, jnp.zeros((self.steps,), jnp.float32))

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, env_state, reward, terminated, info = self.env.step_env(key, state.env_state, action, params)
        ended = terminated | self.env.is_truncated(env_state, params)
        queue = jnp.append(state.pending, jnp.asarray(reward, jnp.float32))
        paid = jnp.where(ended, jnp.sum(queue), queue[0])
        return obs, RewardDelayState(env_state, queue[1:]), paid, terminated, info
