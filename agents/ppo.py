"""Proximal policy optimisation (Schulman et al. 2017) for agents with memory.

One iteration: `act` for T steps in B environments, estimate advantages (`gae`), then `learn`: epochs over minibatches
of whole contiguous sequences, each recomputed by `agent.scan` from the memory that acting had at its start.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rlformers.agents.agent import Agent
from rlformers.agents.finite import finite_acting, finite_learning, finite_state, first_failure
from rlformers.agents.gae import gae
from rlformers.agents.memory_metrics import memory_metrics
from rlformers.agents.normalizers import (
    Normalizers,
    init_normalizers,
    normalize_observation,
    update_observation,
    update_reward,
)
from rlformers.agents.optimizer import learning_rates
from rlformers.config import PPOConfig

Metrics = dict[str, Array]
Divide = Callable[[Any, int], Any]


class TrainState(NamedTuple):
    """All there is: a checkpoint is this and nothing else."""

    agent: Agent
    opt_state: Any
    env_state: Any  # leading axis B, as in obs, start and memory
    obs: Any
    start: Bool[Array, " B"]  # whether obs is the first of a new memory
    memory: Any  # before obs is consumed
    normalizers: Normalizers
    key: PRNGKeyArray
    num_updates: Int[Array, ""]


class Learner(NamedTuple):
    """Two pure functions, as in optax; both can be vmapped over seeds, and where they are made over numbers."""

    init: Callable[[PRNGKeyArray], TrainState]
    update: Callable[[TrainState], tuple[TrainState, Metrics]]


class Rollout(NamedTuple):
    """What acting produced; leading axes [T, B]."""

    obs: Any
    start: Array
    action: Array  # raw, before squashing
    log_prob: Array
    value: Array
    reward: Array
    terminated: Array
    truncated: Array
    final_value: Array  # of info["final_observation"]; only used where truncated
    episodes: dict[str, Array]  # sums over the episodes that ended in this step, [T, ...]


class Batch(NamedTuple):
    """What learning needs; leading axes [T, N], N sequences."""

    obs: Any
    start: Array
    action: Array
    log_prob: Array
    value: Array
    advantage: Array
    target: Array


def ppo(
    config: PPOConfig,
    env: Any,
    env_params: Any,
    make_agent: Callable[[PRNGKeyArray], Agent],
    num_updates: int,
    divide: Divide | None = None,
) -> Learner:
    """A PPO learner.

    Args:
        config: Hyper-parameters. Those of `config.NUMBERS` may be traced (`with_numbers`), so a sweep over them can be
            vmapped.
        env: A gymnax 1.x environment. For every `info["episode_<name>"]` that its steps report, such as return and
            length by the wrapper EpisodeStatistics, the metric `episode/<name>` is the sum over the episodes that ended
            (of numbers or arrays alike), and `episode/count` is their number. The metric `finite` [N] has the flags
            that `finite.checked` names.
        env_params: Its params.
        make_agent: Builds the agent from a key.
        num_updates: Iterations over which the schedules run.
        divide: Lays an axis of arrays over several devices: that of the sequences of a minibatch.
    """
    B, T = config.num_envs, config.num_steps
    L = config.bptt_length or T
    K = T // L  # sequences per environment
    can_truncate = not getattr(env, "never_truncates", False)
    optimizer = optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.scale_by_adam(eps=1e-5))

    def schedule(value: Any, anneal: bool, step: Array) -> Array:
        return value * (1 - step / num_updates) if anneal else value * jnp.ones(())

    def init(key: PRNGKeyArray) -> TrainState:
        key_agent, key_reset, key = jax.random.split(key, 3)
        agent = make_agent(key_agent)
        obs, env_state = jax.vmap(env.reset, (0, None))(jax.random.split(key_reset, B), env_params)
        memory = jax.tree.map(lambda x: jnp.broadcast_to(x, (B, *x.shape)), agent.core.initial_state())
        return TrainState(
            agent=agent,
            opt_state=optimizer.init(agent),
            env_state=env_state,
            obs=obs,
            start=jnp.ones(B, bool),
            memory=memory,
            normalizers=init_normalizers(jax.tree.map(lambda x: x[0], obs), B),
            key=key,
            num_updates=jnp.zeros((), jnp.int32),
        )

    def see(normalizers: Normalizers, obs: Any) -> Any:
        return normalize_observation(normalizers.observation, obs) if config.normalize_observations else obs

    def act(state: TrainState) -> tuple[TrainState, Any, Rollout, Array]:
        """T steps in B environments. Also returns the memories [K, B] at the starts of sequences, and V(o_T) [B]."""
        agent, policy = state.agent, state.agent.policy

        def step(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, Rollout]:
            env_state, obs, start, memory = carry
            key_action, key_env = jax.random.split(key)
            memory, output = jax.vmap(agent.step)(memory, see(state.normalizers, obs), start)
            action = policy.sample(key_action, output.policy)
            next_obs, env_state, reward, terminated, truncated, info = jax.vmap(env.step, (0, 0, 0, None))(
                jax.random.split(key_env, B), env_state, policy.to_env(action), env_params
            )
            if can_truncate:  # one step of the memory before the reset, not committed
                final_obs = see(state.normalizers, info["final_observation"])
                final_value = jax.vmap(agent.step)(memory, final_obs, jnp.zeros(B, bool))[1].value
            else:
                final_value = jnp.zeros(B)
            done = terminated | truncated
            episodes = {"count": done.sum()}
            for name, total in info.items():
                if name.startswith("episode_"):
                    ended = done.reshape(B, *[1] * (total.ndim - 1))
                    sums = jnp.where(ended, total, 0).sum(0).astype(jnp.float32)
                    episodes[name.removeprefix("episode_")] = sums
            transition = Rollout(
                obs=obs,
                start=start,
                action=action,
                log_prob=policy.log_prob(output.policy, action),
                value=output.value,
                reward=jnp.asarray(reward, jnp.float32),
                terminated=terminated,
                truncated=truncated,
                final_value=final_value,
                episodes=episodes,
            )
            return (env_state, next_obs, done, memory), transition

        def sequence(carry: tuple, keys: Array) -> tuple[tuple, tuple[Any, Rollout]]:
            start_memory = carry[-1]
            carry, transitions = jax.lax.scan(step, carry, keys)
            return carry, (start_memory, transitions)

        key, key_act = jax.random.split(state.key)
        memory = jax.vmap(agent.core.prepare, axis_size=B)(state.memory)
        carry = (state.env_state, state.obs, state.start, memory)
        keys = jax.random.split(key_act, (K, L))
        (env_state, obs, start, memory), (memories, rollout) = jax.lax.scan(sequence, carry, keys)
        rollout = jax.tree.map(lambda x: x.reshape(T, *x.shape[2:]), rollout)
        last_value = jax.vmap(agent.step)(memory, see(state.normalizers, obs), start)[1].value
        state = state._replace(env_state=env_state, obs=obs, start=start, memory=memory, key=key)
        return state, memories, rollout, last_value

    def loss(
        agent: Agent, memory: Any, batch: Batch, ent_coef: Array, key: PRNGKeyArray
    ) -> tuple[Array, dict[str, Array]]:
        # prepare: memories were stored under older parameters; what they cache must follow the current ones.
        memory = jax.vmap(agent.core.prepare, axis_size=batch.start.shape[1])(memory)
        _, output = jax.vmap(agent.scan, (0, 1, 1), (0, 1))(memory, batch.obs, batch.start)
        batch, output = jax.tree.map(lambda x: x[config.burn_in :], (batch, output))
        advantage = batch.advantage
        if config.normalize_advantages:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)

        log_ratio = agent.policy.log_prob(output.policy, batch.action) - batch.log_prob
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - config.clip_eps, 1 + config.clip_eps)
        policy_loss = -jnp.minimum(ratio * advantage, clipped * advantage).mean()

        error = jnp.square(output.value - batch.target)
        if config.clip_value:
            change = jnp.clip(output.value - batch.value, -config.clip_eps, config.clip_eps)
            error = jnp.maximum(error, jnp.square(batch.value + change - batch.target))
        value_loss = 0.5 * error.mean()
        entropy = agent.policy.entropy(key, output.policy).mean()
        total = policy_loss + config.vf_coef * value_loss - ent_coef * entropy
        return total, {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "approx_kl": (ratio - 1 - log_ratio).mean(),  # Schulman 2020, estimator k3
            "clip_fraction": (jnp.abs(ratio - 1) > config.clip_eps).mean(),
            "ratio_error": jnp.abs(ratio - 1).max(),
        }

    def learn(state: TrainState, memories: Any, batch: Batch) -> tuple[TrainState, Metrics]:
        lr = schedule(config.lr, config.anneal_lr, state.num_updates)
        ent_coef = schedule(config.ent_coef, config.anneal_ent, state.num_updates)
        scales = learning_rates(state.agent, config.core_lr_scale)
        sequences = jax.tree.map(lambda x: _sequences(x, K), batch)

        def minibatch(carry: tuple, item: tuple[Array, PRNGKeyArray]) -> tuple[tuple, Metrics]:
            agent, opt_state, memories, stopped = carry
            index, key = item
            part = jax.tree.map(lambda x: x[:, index], sequences)
            memory = jax.tree.map(lambda x: x[index], memories)
            if divide:
                part, memory = divide(part, 1), divide(memory, 0)
            grads, metrics = jax.grad(loss, has_aux=True)(agent, memory, part, ent_coef, key)
            metrics["grad_norm"] = optax.global_norm(grads)
            metrics["used"] = 1.0 - stopped
            metrics["finite"] = finite_learning(grads, metrics) | stopped
            stopped |= (config.target_kl > 0) & (metrics["approx_kl"] > config.target_kl)
            updates, new_opt_state = optimizer.update(grads, opt_state)
            new_agent = jax.tree.map(lambda p, u, scale: p - lr * scale * u, agent, updates, scales)
            agent, opt_state = jax.tree.map(
                lambda old, new: jnp.where(stopped, old, new), (agent, opt_state), (new_agent, new_opt_state)
            )
            return (agent, opt_state, memories, stopped), metrics

        def epoch(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, Metrics]:
            key_permutation, key_loss = jax.random.split(key)
            if config.refresh_memory:
                agent, opt_state, memories, stopped = carry
                carry = agent, opt_state, refresh(agent, memories), stopped
            order = jax.random.permutation(key_permutation, K * B).reshape(config.num_minibatches, -1)
            return jax.lax.scan(minibatch, carry, (order, jax.random.split(key_loss, config.num_minibatches)))

        def refresh(agent: Agent, memories: Any) -> Any:
            """Recompute the memories at the starts of sequences 1.. of every environment; 0's are given."""
            per_chunk = jax.tree.map(lambda x: x.reshape(L, K, B, *x.shape[2:]), (sequences.obs, sequences.start))
            per_chunk = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), per_chunk)
            first = jax.vmap(agent.core.prepare, axis_size=B)(jax.tree.map(lambda x: x[:B], memories))

            def advance(memory: Any, chunk: tuple[Any, Array]) -> tuple[Any, Any]:
                return jax.vmap(agent.scan, (0, 1, 1), (0, 1))(memory, *chunk)[0], memory

            _, starts = jax.lax.scan(advance, first, per_chunk)
            return jax.lax.stop_gradient(jax.tree.map(lambda x: x.reshape(K * B, *x.shape[2:]), starts))

        key, key_learn = jax.random.split(state.key)
        memories = jax.tree.map(lambda x: x.reshape(K * B, *x.shape[2:]), memories)
        carry = (state.agent, state.opt_state, memories, jnp.zeros((), bool))
        (agent, opt_state, _, _), metrics = jax.lax.scan(
            epoch, carry, jax.random.split(key_learn, config.update_epochs)
        )
        used, finite = metrics.pop("used"), first_failure(metrics.pop("finite"))
        first_ratio_error = metrics.pop("ratio_error")[0, 0]
        averages = {f"ppo/{name}": (value * used).sum() / used.sum() for name, value in metrics.items()}
        averages |= {"ppo/first_ratio_error": first_ratio_error, "ppo/lr": lr, "ppo/ent_coef": ent_coef}
        averages["finite"] = finite
        state = state._replace(agent=agent, opt_state=opt_state, key=key, num_updates=state.num_updates + 1)
        return state, averages

    def update(state: TrainState) -> tuple[TrainState, Metrics]:
        normalizers = state.normalizers
        state, memories, rollout, last_value = act(state)
        reward = rollout.reward * config.reward_scale
        if config.normalize_rewards:
            normalizers = update_reward(normalizers, reward, rollout.terminated | rollout.truncated, config.gamma)
            reward = reward / normalizers.reward.std()
        advantage = gae(
            reward,
            rollout.value,
            rollout.final_value,
            last_value,
            rollout.terminated,
            rollout.truncated,
            config.gamma,
            config.gae_lambda,
        )
        target = advantage + rollout.value
        batch = Batch(
            obs=see(state.normalizers, rollout.obs),
            start=rollout.start,
            action=rollout.action,
            log_prob=rollout.log_prob,
            value=rollout.value,
            advantage=advantage,
            target=target,
        )
        if config.normalize_observations:
            moments = update_observation(normalizers.observation, rollout.obs)
            normalizers = normalizers._replace(observation=moments)
        state, metrics = learn(state._replace(normalizers=normalizers), memories, batch)
        residual = jnp.var(target - rollout.value) / jnp.maximum(jnp.var(target), 1e-8)
        metrics["ppo/explained_variance"] = 1 - residual
        metrics |= memory_metrics(state.memory, rollout.start)
        metrics |= {f"episode/{name}": value.sum(0) for name, value in rollout.episodes.items()}
        flags = [finite_acting(rollout, state.obs), metrics["finite"], finite_state(state)]
        metrics["finite"] = jnp.concatenate(flags)
        return state, metrics

    return Learner(init, update)


def _sequences(x: Array, K: int) -> Array:
    """[K L, B] -> [L, K B]: contiguous pieces of time, the k-th of environment b at column k B + b."""
    x = x.reshape(K, -1, *x.shape[1:])
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1, *x.shape[3:])
