"""A fixed number of whole episodes of a fixed agent."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rlformers.agents.agent import Agent
from rlformers.agents.normalizers import normalize_observation


class RolloutState(NamedTuple):
    """The current episodes in B copies of the environment, and the results of finished ones."""

    env_state: Any  # leading axis B, as in obs, start and memory
    obs: Any
    start: Bool[Array, " B"]
    memory: Any
    key: PRNGKeyArray
    num_finished: Int[Array, " B"]
    values: dict[str, Array]  # [B, Q, ...]: info["episode_<name>"] at the end of each episode


class Rollout(NamedTuple):
    """Two pure functions. Both can be vmapped over agents."""

    init: Callable[[Agent, PRNGKeyArray], RolloutState]
    advance: Callable[[Agent, Any, RolloutState], RolloutState]


def quotas(episodes: int, num_envs: int) -> np.ndarray:
    """The number of episodes of each copy [B]; their sum is `episodes`.

    The numbers are fixed beforehand. Taking the first episodes that finish in any copy would prefer
    short ones.
    """
    num_envs = min(episodes, num_envs)
    return episodes // num_envs + (np.arange(num_envs) < episodes % num_envs)


def make_rollout(env: Any, env_params: Any, quota: np.ndarray, greedy: bool, max_steps: int) -> Rollout:
    """Play `quota` episodes in each of B copies.

    Args:
        env: A gymnax 1.x environment whose `info` has `episode_*`, which the wrapper
            EpisodeStatistics adds.
        env_params: Its params.
        quota: Episodes of each copy [B].
        greedy: Take the most probable action instead of a sampled one.
        max_steps: Largest number of steps that one call of `advance` makes in each copy.
    """
    B, Q = len(quota), int(quota.max())
    limit = jnp.asarray(quota)

    def init(agent: Agent, key: PRNGKeyArray) -> RolloutState:
        key_reset, key = jax.random.split(key)
        obs, env_state = jax.vmap(env.reset, (0, None))(jax.random.split(key_reset, B), env_params)
        action = agent.policy.to_env(agent.policy.mode(jnp.zeros(agent.policy.num_outputs + agent.policy.num_scales)))
        info = jax.eval_shape(lambda: env.step(key, jax.tree.map(lambda x: x[0], env_state), action, env_params))[-1]
        return RolloutState(
            env_state=env_state,
            obs=obs,
            start=jnp.ones(B, bool),
            memory=jax.tree.map(lambda x: jnp.broadcast_to(x, (B, *x.shape)), agent.core.initial_state()),
            key=key,
            num_finished=jnp.zeros(B, jnp.int32),
            values={
                name.removeprefix("episode_"): jnp.zeros((B, Q, *value.shape), value.dtype)
                for name, value in info.items()
                if name.startswith("episode_")
            },
        )

    def step(agent: Agent, moments: Any, state: RolloutState) -> RolloutState:
        key_action, key_env, key = jax.random.split(state.key, 3)
        obs = state.obs if moments is None else normalize_observation(moments, agent.as_numbers(state.obs, 1))
        memory, output = jax.vmap(agent.step)(state.memory, obs, state.start)
        action = agent.policy.mode(output.policy) if greedy else agent.policy.sample(key_action, output.policy)
        next_obs, env_state, _, terminated, truncated, info = jax.vmap(env.step, (0, 0, 0, None))(
            jax.random.split(key_env, B), state.env_state, agent.policy.to_env(action), env_params
        )
        done = terminated | truncated
        counts = done & (state.num_finished < limit)
        place = jnp.where(counts, state.num_finished, Q)  # Q is out of range, so it is dropped
        values = {
            name: jax.vmap(lambda kept, i, value: kept.at[i].set(value, mode="drop"))(
                kept, place, info[f"episode_{name}"]
            )
            for name, kept in state.values.items()
        }
        return RolloutState(env_state, next_obs, done, memory, key, state.num_finished + counts, values)

    def advance(agent: Agent, moments: Any, state: RolloutState) -> RolloutState:
        memory = jax.vmap(agent.core.prepare, axis_size=B)(state.memory)

        def unfinished(carry: tuple[Array, RolloutState]) -> Array:
            steps, state = carry
            return (steps < max_steps) & jnp.any(state.num_finished < limit)

        def body(carry: tuple[Array, RolloutState]) -> tuple[Array, RolloutState]:
            steps, state = carry
            return steps + 1, step(agent, moments, state)

        return jax.lax.while_loop(unfinished, body, (jnp.zeros((), jnp.int32), state._replace(memory=memory)))[1]

    return Rollout(init, advance)
