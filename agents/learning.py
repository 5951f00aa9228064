"""Learning: epochs over minibatches of whole sequences, recomputed from the memories at their starts."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, PRNGKeyArray

from rlformers.agents import losses
from rlformers.agents.agent import Agent
from rlformers.agents.finite import finite_learning, first_failure
from rlformers.agents.hl_gauss import hl_gauss_loss
from rlformers.agents.optimizer import adam, descend
from rlformers.agents.schedules import linear_decay, linear_warmup
from rlformers.agents.sequences import Cut, scan_sequences, sequences, trained
from rlformers.config.ppo import Numbers, PPOConfig

Metrics = dict[str, Array]
Divide = Callable[[Any, int], Any]


class Batch(NamedTuple):
    """What learning needs from a rollout; leading axes [T, B], or [w, N] after the cut into sequences."""

    obs: Any  # as the agent saw it
    start: Array
    action: Array
    log_prob: Array
    value: Array
    advantage: Array
    target: Array


class Student(NamedTuple):
    """What a minibatch changes."""

    agent: Agent
    opt_state: Any
    stopped: Bool[Array, ""]  # whether the KL passed its limit, which skips the rest of the iteration


def learn(
    agent: Agent,
    opt_state: Any,
    batch: Batch,
    memories: Any,
    update: Array,
    config: PPOConfig,
    numbers: Numbers,
    divide: Divide | None,
    key: PRNGKeyArray,
) -> tuple[Agent, Any, Metrics]:
    """The epochs of one iteration.

    Args:
        agent: The agent that acted.
        opt_state: The state of `optimizer.adam`.
        batch: The rollout, [T, B].
        memories: The memories at the starts of its sequences, [N, ...].
        update: The number of iterations before this one.
        config: The options that shape the program.
        numbers: The numbers in it.
        divide: Spreads an axis of arrays over several devices: the sequences of a minibatch.
        key: For the order of sequences and for sampled entropies.
    """
    B = batch.start.shape[1]
    cut = Cut(config.num_steps, config.sequence_length, config.burn_in)
    chex.assert_tree_shape_prefix(batch, (cut.T, B))
    chex.assert_tree_shape_prefix(memories, (cut.K * B,))
    whole, is_trained = sequences(batch, cut), trained(cut, B)
    decay = linear_decay(update, numbers.num_updates)
    warmup = linear_warmup(update, numbers.warmup, numbers.num_updates)
    lr = jnp.asarray(numbers.lr * (decay if config.anneal_lr else 1.0) * warmup)
    ent_coef = numbers.ent_coef * (decay if config.anneal_ent else jnp.ones(()))
    optimizer = adam(numbers)

    def minibatch(student: Student, memories: Any, index: Array, key: PRNGKeyArray) -> tuple[Student, Metrics]:
        part = jax.tree.map(lambda x: x[:, index], (whole, is_trained))
        memory = jax.tree.map(lambda x: x[index], memories)
        if divide:
            part, memory = divide(part, 1), divide(memory, 0)
        grads, metrics = jax.grad(loss, has_aux=True)(student.agent, memory, *part, ent_coef, config, numbers, key)
        metrics |= {"grad_norm": optax.global_norm(grads), "used": jnp.ones(())}
        metrics["finite"] = finite_learning(grads, metrics)
        stopped = (numbers.target_kl > 0) & (metrics["approx_kl"] > numbers.target_kl)
        directions, opt_state = optimizer.update(grads, student.opt_state)
        changed = Student(descend(student.agent, directions, lr, numbers), opt_state, stopped)
        kept = student._replace(stopped=stopped)
        return jax.tree.map(lambda old, new: jnp.where(stopped, old, new), kept, changed), metrics

    def epoch(student: Student, key: PRNGKeyArray) -> tuple[Student, Metrics]:
        key_permutation, key_loss = jax.random.split(key)
        starts = refresh(student.agent, memories, batch, cut) if config.refresh_memory else memories
        order = jax.random.permutation(key_permutation, cut.K * B).reshape(config.num_minibatches, -1)

        def turn(student: Student, item: tuple[Array, PRNGKeyArray]) -> tuple[Student, Metrics]:
            return jax.lax.cond(student.stopped, skip, lambda student: minibatch(student, starts, *item), student)

        def skip(student: Student) -> tuple[Student, Metrics]:
            shapes = jax.eval_shape(minibatch, student, starts, order[0], key_loss)[1]
            nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
            return student, nothing | {"finite": jnp.ones_like(nothing["finite"])}

        return jax.lax.scan(turn, student, (order, jax.random.split(key_loss, config.num_minibatches)))

    student = Student(agent, opt_state, jnp.zeros((), bool))
    student, metrics = jax.lax.scan(epoch, student, jax.random.split(key, config.update_epochs))
    used, finite = metrics.pop("used"), first_failure(metrics.pop("finite"))
    first_ratio_error = metrics.pop("ratio_error")[0, 0]
    averages = {f"ppo/{name}": (value * used).sum() / used.sum() for name, value in metrics.items()}
    averages |= {"ppo/first_ratio_error": first_ratio_error, "ppo/lr": lr, "ppo/ent_coef": ent_coef, "finite": finite}
    return student.agent, student.opt_state, averages


def loss(
    agent: Agent,
    memory: Any,
    batch: Batch,
    is_trained: Bool[Array, "w N"] | None,
    ent_coef: Array,
    config: PPOConfig,
    numbers: Numbers,
    key: PRNGKeyArray,
) -> tuple[Array, Metrics]:
    """-L_clip + vf_coef L_V - ent_coef H of a minibatch of N sequences (Schulman et al. 2017, equation 9).

    Args:
        agent: The agent, with respect to which the loss is differentiated.
        memory: The memories at the starts of the sequences, [N, ...].
        batch: The sequences, [burn_in + w, N].
        is_trained: Which of the w tokens count; None means all.
        ent_coef: The present value of its schedule.
        config: The options that shape the program.
        numbers: The numbers in it.
        key: For sampled entropies.
    """
    N, scan = batch.start.shape[1], jax.vmap(agent.scan, (0, 1, 1), (0, 1))
    if config.burn_in:
        warm = jax.tree.map(lambda x: x[: config.burn_in], batch)
        batch = jax.tree.map(lambda x: x[config.burn_in :], batch)
        memory = jax.lax.stop_gradient(scan(prepare(agent, memory, N), warm.obs, warm.start)[0])
    _, output = scan(prepare(agent, memory, N), batch.obs, batch.start)

    advantage = losses.whiten(batch.advantage, is_trained) if config.normalize_advantages else batch.advantage
    log_ratio = agent.policy.log_prob(output.policy, batch.action) - batch.log_prob
    surrogate = losses.clipped_surrogate(log_ratio, advantage, numbers.clip_eps, numbers.clip_eps_high)
    if agent.critic_kind == "hl_gauss":
        value_error = hl_gauss_loss(output.value_logits, batch.target, agent.value_limit)
    elif config.clip_value:
        value_error = losses.clipped_squared_error(output.value, batch.value, batch.target, numbers.clip_eps)
    else:
        value_error = losses.squared_error(output.value, batch.target)
    terms = {
        "policy_loss": -surrogate,
        "value_loss": value_error,
        "entropy": agent.policy.entropy(key, output.policy),
        "approx_kl": losses.approx_kl(log_ratio),
        "clip_fraction": losses.clip_fraction(log_ratio, numbers.clip_eps, numbers.clip_eps_high),
    }
    metrics = {name: losses.mean(term, is_trained) for name, term in terms.items()}
    error = jnp.abs(jnp.expm1(log_ratio))
    metrics["ratio_error"] = (error if is_trained is None else jnp.where(is_trained, error, 0)).max()
    total = metrics["policy_loss"] + numbers.vf_coef * metrics["value_loss"] - ent_coef * metrics["entropy"]
    return total, metrics


def prepare(agent: Agent, memory: Any, N: int) -> Any:
    """N stored memories, with their caches recomputed from the agent's present parameters."""
    return jax.vmap(agent.core.prepare, axis_size=N)(memory)


def refresh(agent: Agent, memories: Any, batch: Batch, cut: Cut) -> Any:
    """The memories at the starts of sequences, recomputed with the agent's present parameters, [N, ...].

    The memories at the start of the rollout stay, except for their caches.

    Args:
        agent: The agent.
        memories: The memories from acting, [N, ...].
        batch: The rollout, [T, B].
        cut: Where sequences begin.
    """
    B = batch.start.shape[1]

    def advance(memory: Any, tokens: tuple[Any, Array]) -> tuple[Any, None]:
        return jax.vmap(agent.scan, (0, 1, 1), (0, 1))(memory, *tokens)[0], None

    first = prepare(agent, jax.tree.map(lambda x: x[:B], memories), B)
    _, starts, _ = scan_sequences(advance, first, (batch.obs, batch.start), cut, lambda memory: memory)
    return starts
