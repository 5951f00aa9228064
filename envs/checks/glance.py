"""A short look at an environment in play, in one small program."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from rlformers.envs.checks.play import Run
from rlformers.envs.checks.rollouts import Step, random_action, to_numpy
from rlformers.envs.environment import Environment
from rlformers.quick_compile import IN_A_HURRY


def glance(env: Environment, params: Any, key: PRNGKeyArray, num_envs: int, num_steps: int) -> Run:
    """Random play of B copies for T steps after their first reset; a copy whose episode is over stays where it is."""

    def one(carry: Any, key: PRNGKeyArray) -> tuple[Any, Any]:
        obs, state, reward, over = carry
        key_action, key_step = jax.random.split(key)
        action = random_action(key_action, env.action_space(params), obs)
        new_obs, new_state, new_reward, terminated, _ = env.step_env(key_step, state, action, params)
        terminated = jnp.reshape(terminated, ())
        truncated = env.is_truncated(new_state, params)
        new = new_obs, new_state, jnp.reshape(jnp.asarray(new_reward, jnp.float32), ()), terminated | truncated
        carry = jax.tree.map(lambda old, new: jnp.where(over, old, new), (obs, state, reward, over), new)
        return carry, (carry[0], carry[2], terminated, truncated)

    def episode(key: PRNGKeyArray) -> tuple[Any, Any]:
        key_reset, key_steps = jax.random.split(key)
        first, state = env.reset_env(key_reset, params)
        start = first, state, jnp.zeros((), jnp.float32), jnp.zeros((), jnp.bool_)
        return first, jax.lax.scan(one, start, jax.random.split(key_steps, num_steps))[1]

    play = jax.jit(jax.vmap(episode, out_axes=(0, 1)), compiler_options=IN_A_HURRY)
    first, (obs, reward, terminated, truncated) = jax.tree.map(to_numpy, play(jax.random.split(key, num_envs)))
    return Run(env, params, "", first, Step(obs, obs, reward, terminated, truncated, *[None] * 5))
