"""What learning needs from a rollout: log-probabilities and values, normalised numbers, advantages."""

from typing import Any, NamedTuple

import numpy as np

from .networks import step

LIMIT = 10.0  # of normalised observations


class World(NamedTuple):
    """What B environments did in T steps, [T][B] each; `last` is the observation after them, [B]."""

    obs: Any
    action: Any
    reward: Any
    terminated: Any
    truncated: Any
    final_obs: Any
    last: Any


class Acted(NamedTuple):
    """What the agent makes of it, [T][B]; `last_value` [B]."""

    memory: Any  # before the observation
    start: Any
    log_prob: Any
    value: Any
    final_value: Any
    last_value: Any


def act(agent, memory, start, seen, config):
    """Log-probabilities and values; a final observation is seen with the memory before the reset, which forgets it."""
    T, B = config.num_steps, config.num_envs
    memories, starts = [[None] * B for _ in range(T)], np.zeros((T, B), bool)
    log_prob, value, final_value, last_value = np.zeros((T, B)), np.zeros((T, B)), np.zeros((T, B)), np.zeros(B)
    memory, start = list(memory), list(start)
    for b in range(B):
        for t in range(T):
            memories[t][b], starts[t, b] = memory[b], start[b]
            memory[b], log_pi, value[t, b] = step(agent, memory[b], seen.obs[t][b], start[b])
            log_prob[t, b] = log_pi[seen.action[t, b]]
            if seen.truncated[t, b]:
                _, _, final_value[t, b] = step(agent, memory[b], seen.final_obs[t][b], False)
            start[b] = seen.terminated[t, b] or seen.truncated[t, b]
        _, _, last_value[b] = step(agent, memory[b], seen.last[b], start[b])
    return Acted(memories, starts, log_prob, value, final_value, last_value), memory, start


def estimate(rewards, acted, world, gamma_lambda, gamma):
    """A_t = Σ_l (γλ)^l δ_{t+l} up to the end of the episode (Schulman et al. 2016, equation 16)."""
    T, B = rewards.shape
    delta, advantages = np.zeros((T, B)), np.zeros((T, B))
    for b in range(B):
        for t in range(T):
            follows = acted.value[t + 1, b] if t + 1 < T else acted.last_value[b]
            follows = acted.final_value[t, b] if world.truncated[t, b] else follows
            follows = 0 if world.terminated[t, b] else follows
            delta[t, b] = rewards[t, b] + gamma * follows - acted.value[t, b]
        for t in range(T):
            for later in range(t, T):
                advantages[t, b] += gamma_lambda ** (later - t) * delta[later, b]
                if world.terminated[later, b] or world.truncated[later, b]:
                    break
    return advantages


def normalized(world, observations):
    """By mean and deviation of the observations before this rollout, if there were any."""
    mean = np.mean(observations, 0) if observations else 0.0
    std = np.sqrt(np.var(observations, 0) + 1e-8) if observations else 1.0

    def see(obs):
        x = np.clip((vector(obs) - mean) / std, -LIMIT, LIMIT)
        return obs | {"obs": x} if isinstance(obs, dict) else x

    obs, final_obs = ([[see(o) for o in row] for row in rows] for rows in (world.obs, world.final_obs))
    return world._replace(obs=obs, final_obs=final_obs, last=[see(o) for o in world.last])


def vector(obs):
    """The part of an observation that can be normalised."""
    return obs["obs"] if isinstance(obs, dict) else obs


def with_returns(state, rewards, done, gamma):
    """With the discounted returns G_t = r_t + γ G_{t-1} of a rollout, which begin anew after an episode."""
    returns, discounted = list(state.returns), list(state.discounted)
    for t, b in np.ndindex(rewards.shape):
        discounted[b] = rewards[t, b] + gamma * discounted[b]
        returns.append(discounted[b])
        discounted[b] = 0.0 if done[t, b] else discounted[b]
    return state._replace(returns=returns, discounted=discounted)
