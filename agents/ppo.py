"""Proximal policy optimisation (Schulman et al. 2017) for agents with memory.

One iteration acts for T steps in B environments (`act`), estimates advantages (`gae`) and learns
(`learn`): epochs over minibatches of whole contiguous sequences. `agent.scan` recomputes each from
the memory that acting had at its start.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rlformers.agents.acting import Rollout, World, act
from rlformers.agents.agent import Agent
from rlformers.agents.finite import finite_acting, finite_state
from rlformers.agents.gae import gae
from rlformers.agents.learning import Batch, Divide, Metrics, learn
from rlformers.agents.losses import explained_variance
from rlformers.agents.memory_metrics import memory_metrics
from rlformers.agents.normalizers import (
    Normalizers,
    init_normalizers,
    normalize_observation,
    update_observation,
    update_reward,
)
from rlformers.agents.optimizer import adam
from rlformers.agents.sequences import Cut
from rlformers.config.ppo import Numbers, PPOConfig

__all__ = ["Divide", "Learner", "TrainState", "ppo"]


class TrainState(NamedTuple):
    """The whole state of training: a checkpoint is this and nothing else."""

    agent: Agent
    opt_state: Any
    env_state: Any  # leading axis B, as in obs, start and memory
    obs: Any
    start: Bool[Array, " B"]  # whether obs is the first of a new memory
    memory: Any  # before it consumes obs
    normalizers: Normalizers
    key: PRNGKeyArray
    num_updates: Int[Array, ""]


class Learner(NamedTuple):
    """Two pure functions, as in optax. Callers can vmap both over seeds, and `ppo` itself over numbers."""

    init: Callable[[PRNGKeyArray], TrainState]
    update: Callable[[TrainState], tuple[TrainState, Metrics]]


def ppo(
    config: PPOConfig,
    env: Any,
    env_params: Any,
    make_agent: Callable[[PRNGKeyArray], Agent],
    num_updates: int,
    divide: Divide | None = None,
    *,
    numbers: Numbers | None = None,
    vmapped: bool = False,
) -> Learner:
    """A PPO learner.

    Args:
        config: Hyper-parameters.
        env: A gymnax 1.x environment. For every `info["episode_<name>"]` of its steps (a number or
            an array), such as return and length from the wrapper EpisodeStatistics, the metric
            `episode/<name>` is the sum over the episodes that ended. `episode/count` is their
            number. The metric `finite` [N] has the flags that `finite.checked` names.
        env_params: Its params.
        make_agent: Builds the agent from a key.
        num_updates: Iterations over which the schedules run.
        divide: Spreads an axis of arrays over several devices: the sequences of a minibatch.
        numbers: Replace the numbers of `config` and `num_updates`. They can be traced, and so
            vmapped.
        vmapped: Whether callers vmap `update`. It changes what is cheapest to compute, not the
            results.
    """
    numbers = numbers or Numbers.of(config, num_updates)
    B, cut = config.num_envs, Cut(config.num_steps, config.sequence_length, config.burn_in)

    def init(key: PRNGKeyArray) -> TrainState:
        key_agent, key_reset, key = jax.random.split(key, 3)
        agent = make_agent(key_agent)
        obs, env_state = jax.vmap(env.reset, (0, None))(jax.random.split(key_reset, B), env_params)
        return TrainState(
            agent=agent,
            opt_state=adam(numbers).init(agent),
            env_state=env_state,
            obs=obs,
            start=jnp.ones(B, bool),
            memory=jax.tree.map(lambda x: jnp.broadcast_to(x, (B, *x.shape)), agent.core.initial_state()),
            normalizers=init_normalizers(agent.as_numbers(jax.tree.map(lambda x: x[0], obs)), B),
            key=key,
            num_updates=jnp.zeros((), jnp.int32),
        )

    def update(state: TrainState) -> tuple[TrainState, Metrics]:
        def see(obs: Any, num_leading: int = 1) -> Any:
            """Normalise with the statistics before this iteration, in acting and in learning."""
            if not config.normalize_observations:
                return obs
            return normalize_observation(state.normalizers.observation, state.agent.as_numbers(obs, num_leading))

        key, key_act = jax.random.split(state.key)
        key, key_learn = jax.random.split(key)
        world = World(state.env_state, state.obs, state.start, state.memory)
        world, memories, rollout, last_value = act(state.agent, world, env, env_params, see, cut, vmapped, key_act)
        normalizers, reward = normalize(state.agent, state.normalizers, rollout)
        advantage = gae(
            reward,
            rollout.value,
            rollout.final_value,
            last_value,
            rollout.terminated,
            rollout.truncated,
            numbers.gamma,
            numbers.gae_lambda,
        )
        batch = Batch(
            obs=see(rollout.obs, 2),
            start=rollout.start,
            action=rollout.action,
            log_prob=rollout.log_prob,
            value=rollout.value,
            advantage=advantage,
            target=advantage + rollout.value,
        )
        agent, opt_state, metrics = learn(
            state.agent, state.opt_state, batch, memories, state.num_updates, config, numbers, divide, key_learn
        )
        state = TrainState(agent, opt_state, *world, normalizers, key, state.num_updates + 1)
        metrics["ppo/explained_variance"] = explained_variance(rollout.value, batch.target)
        metrics |= memory_metrics(world.memory, rollout.start)
        metrics |= {f"episode/{name}": value.sum(0) for name, value in rollout.episodes.items()}
        flags = [finite_acting(rollout, world.obs), metrics["finite"], finite_state(state)]
        return state, metrics | {"finite": jnp.concatenate(flags)}

    def normalize(agent: Agent, normalizers: Normalizers, rollout: Rollout) -> tuple[Normalizers, Array]:
        """The statistics after this rollout, and the rewards to learn from, [T, B]."""
        reward = rollout.reward * numbers.reward_scale
        if config.normalize_rewards:
            done = rollout.terminated | rollout.truncated
            normalizers = update_reward(normalizers, reward, done, numbers.gamma)
            reward = reward / normalizers.reward.std()
        if config.normalize_observations:
            moments = update_observation(normalizers.observation, agent.as_numbers(rollout.obs, 2))
            normalizers = normalizers._replace(observation=moments)
        return normalizers, reward

    return Learner(init, update)
