"""One update of PPO (Schulman et al. 2017) in float64: loops over environments and steps, gradients by autograd.

Only what the world did and what was drawn is given: observations, rewards, flags, actions, orders
of minibatches. The numbers of the agent are computed here, from a vector of parameters. Statistics
are those of lists of all samples.
"""

from typing import Any, NamedTuple

import autograd
import numpy as np
from autograd.numpy import exp, maximum, minimum
from autograd.tracer import getval

from .networks import step
from .rollout import act, estimate, normalized, vector, with_returns


class State(NamedTuple):
    """Before an update; nothing of it is changed in place."""

    params: Any  # [P]
    m: Any  # Adam's moments [P], and the number of its steps
    v: Any
    steps: int
    memory: list  # of every environment
    start: list
    observations: list  # all that were ever seen
    returns: list  # all discounted returns that ever were
    discounted: list  # the discounted return of every environment's running episode
    updates: int


def update(state, world, orders, build, decays, config, num_updates):
    """The state after an update, and its metrics.

    Args:
        state: Before it.
        world: The rollout.
        orders: For every epoch the minibatches, and of each the numbers k B + b of its sequences.
        build: The agent of a vector of parameters.
        decays: Which parameters have weight decay, [P].
        config: A PPOConfig.
        num_updates: Of the training.
    """
    seen = world
    if config.normalize_observations:
        seen = normalized(world, state.observations)
        state = state._replace(observations=state.observations + [vector(obs) for row in world.obs for obs in row])
    acted, memory, start = act(build(state.params), state.memory, state.start, seen, config)
    rewards = config.reward_scale * world.reward
    if config.normalize_rewards:
        state = with_returns(state, rewards, world.terminated | world.truncated, config.gamma)
        rewards = rewards / np.sqrt(np.var(state.returns) + 1e-8)
    advantages = estimate(rewards, acted, world, config.gamma * config.gae_lambda, config.gamma)
    targets = advantages + acted.value

    decay = max(0.0, 1 - state.updates / num_updates)
    warm = min(1.0, (state.updates + 1) / (config.warmup * num_updates)) if config.warmup else 1.0
    lr = config.lr * warm * (decay if config.anneal_lr else 1)
    ent_coef = config.ent_coef * (decay if config.anneal_ent else 1)
    state, metrics = learn(state, seen, acted, advantages, targets, orders, build, decays, lr, ent_coef, config)
    metrics |= {
        "lr": lr,
        "ent_coef": ent_coef,
        "explained_variance": 1 - np.var(targets - acted.value) / np.var(targets),
    }
    return state._replace(memory=memory, start=start, updates=state.updates + 1), metrics


def learn(state, seen, acted, advantages, targets, orders, build, decays, lr, ent_coef, config):
    """Epochs of minibatches of sequences; the one whose KL is too large ends the iteration without a step."""
    B, L = config.num_envs, config.bptt_length or config.num_steps
    looked_at = []
    for minibatches in orders:
        memories = acted.memory
        if config.refresh_memory:  # with the present parameters, from the memories that the rollout began with
            memories = act(build(state.params), memories[0], acted.start[0], seen, config)[0].memory
        for order in minibatches:
            pieces, tokens = [], []
            for k, b in (divmod(n, B) for n in order):
                first, trained = max(0, k * L - config.burn_in), range(max(k * L, config.burn_in), (k + 1) * L)
                memory = memories[first][b]
                for t in range(first, trained.start):
                    memory, _, _ = step(build(state.params), memory, seen.obs[t][b], acted.start[t, b])
                pieces.append((memory, b, trained))
                tokens += [(t, b) for t in trained]
            A = np.array([advantages[token] for token in tokens])
            A = (A - A.mean()) / (A.std() + 1e-8) if config.normalize_advantages else A

            metrics = {}

            def loss(params, pieces=pieces, A=A, metrics=metrics):
                terms = loss_terms(build(params), pieces, A, seen, acted, targets, config)
                metrics |= {name: getval(term) for name, term in terms.items()}
                return terms["policy_loss"] + config.vf_coef * terms["value_loss"] - ent_coef * terms["entropy"]

            gradient = autograd.grad(loss)(state.params)
            looked_at.append(metrics | {"grad_norm": np.sqrt(np.sum(gradient**2))})
            if config.target_kl and metrics["approx_kl"] > config.target_kl:
                return state, averages(looked_at)
            state = descend(state, gradient, decays, lr, config)
    return state, averages(looked_at)


def loss_terms(agent, pieces, A, seen, acted, targets, config):
    """The terms of the loss, as means over the tokens of a minibatch (equations 7 and 9)."""
    low, high, eps = 1 - config.clip_eps, 1 + (config.clip_eps_high or config.clip_eps), config.clip_eps
    rows, A = [], iter(A)
    for memory, b, trained in pieces:
        for t in trained:
            memory, log_pi, V = step(agent, memory, seen.obs[t][b], acted.start[t, b])
            log_ratio = log_pi[seen.action[t, b]] - acted.log_prob[t, b]
            ratio, A_t, V_old, target = exp(log_ratio), next(A), acted.value[t, b], targets[t, b]
            error = (V - target) ** 2
            if config.clip_value:
                error = maximum(error, (V_old + maximum(-eps, minimum(V - V_old, eps)) - target) ** 2)
            rows.append({
                "policy_loss": -minimum(ratio * A_t, maximum(low, minimum(ratio, high)) * A_t),
                "value_loss": 0.5 * error,
                "entropy": -sum(exp(x) * x for x in log_pi.values()),
                "approx_kl": ratio - 1 - log_ratio,
                "clip_fraction": 1.0 * (ratio < low or ratio > high),
                "ratio_error": abs(ratio - 1),
            })  # fmt: skip
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    return means | {"ratio_error": max(row["ratio_error"] for row in rows)}


def descend(state, g, decays, lr, config):
    """Adam (Kingma & Ba 2015, algorithm 1) on a gradient of bounded norm, with decoupled weight decay."""
    g = g * min(1.0, config.max_grad_norm / np.sqrt(np.sum(g**2)))
    steps = state.steps + 1
    m = config.adam_b1 * state.m + (1 - config.adam_b1) * g
    v = config.adam_b2 * state.v + (1 - config.adam_b2) * g**2
    direction = m / (1 - config.adam_b1**steps) / (np.sqrt(v / (1 - config.adam_b2**steps)) + config.adam_eps)
    direction = direction + config.weight_decay * decays * state.params
    return state._replace(params=state.params - lr * direction, m=m, v=v, steps=steps)


def averages(looked_at):
    """Over the minibatches that were looked at; of the ratio error the first one, before any step."""
    names = [name for name in looked_at[0] if name != "ratio_error"]
    means = {name: np.mean([metrics[name] for metrics in looked_at]) for name in names}
    return means | {"first_ratio_error": looked_at[0]["ratio_error"]}
