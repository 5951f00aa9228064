"""Policies for bandits whose arms change: references for what an agent can reach.

They are told the number of pulls and, where it says so, how the arms change; never the arms.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, PRNGKeyArray

from rlformers.envs.meta.changing_bandits import AdversarialBandit, ChangingBandit, NonStationaryBandit


class Policy(NamedTuple):
    """What to pull: the arm of the highest score."""

    start: Any  # what is remembered before the first pull
    score: Callable[[PRNGKeyArray, Any, Array], Array]  # from a key, the memory and the pulls made to scores [K]
    learn: Callable[[Any, Array, Array], Any]  # from the memory, an arm and its reward to the next memory


def sliding_window_ucb(env: ChangingBandit, window: int = 60, bonus: float = 0.5) -> Policy:
    """Garivier & Moulines 2011, section 3.2: mean of the last pulls + bonus * sqrt(log(min(t, window)) / count).

    Their bonus is sqrt(.6), and their window grows with the horizon; these were best of a grid with
    2,000 trials each.
    """

    def score(key: PRNGKeyArray, memory: tuple, time: Array) -> Array:
        arms, rewards = memory
        pulled = jax.nn.one_hot(arms, env.num_arms)  # [window, K]; -1 is no arm
        counts = pulled.sum(0)
        wide = bonus * jnp.sqrt(jnp.log(jnp.clip(time, 1, window)) / jnp.maximum(counts, 1))
        return jnp.where(counts > 0, rewards @ pulled / jnp.maximum(counts, 1) + wide, jnp.inf)

    def learn(memory: tuple, arm: Array, reward: Array) -> tuple:
        arms, rewards = memory
        return jnp.roll(arms, 1).at[0].set(arm), jnp.roll(rewards, 1).at[0].set(reward)

    return Policy((jnp.full(window, -1), jnp.zeros(window)), score, learn)


def discounted_thompson(env: ChangingBandit, discount: float = 0.97) -> Policy:
    """Raj & Kalyani 2017: Thompson sampling whose counts of successes and failures fade. Rewards are 0 or 1."""

    def score(key: PRNGKeyArray, memory: Array, time: Array) -> Array:
        return jax.random.beta(key, 1 + memory[0], 1 + memory[1])

    def learn(memory: Array, arm: Array, reward: Array) -> Array:
        return (discount * memory).at[:, arm].add(jnp.stack([reward, 1 - reward]))

    return Policy(jnp.zeros((2, env.num_arms)), score, learn)


def change_point_ucb(env: NonStationaryBandit, bonus: float = 1.2) -> Policy:
    """An upper bound of the exact posterior, given the rate of the jumps (without drift): mean + bonus * deviation.

    The posterior is a mixture over the number of pulls since the last jump (Adams & MacKay 2007;
    for bandits Mellor & Shapiro 2013): with that known, chances are Beta distributed.
    """

    def moments(memory: tuple) -> tuple[Array, Array]:
        _, wins, losses = memory
        mean = (1 + wins) / (2 + wins + losses)  # [T, K]
        return mean, mean * (1 - mean) / (3 + wins + losses)

    def score(key: PRNGKeyArray, memory: tuple, time: Array) -> Array:
        mean, variance = moments(memory)
        first, second = memory[0] @ mean, memory[0] @ (variance + mean**2)
        return first + bonus * jnp.sqrt(jnp.maximum(second - first**2, 0.0))

    def learn(memory: tuple, arm: Array, reward: Array) -> tuple:
        weights, wins, losses = memory
        chance = moments(memory)[0][:, arm]
        weights = weights * jnp.where(reward > 0, chance, 1 - chance)
        weights = weights / weights.sum()
        weights = jnp.roll((1 - env.jump_rate) * weights, 1).at[0].set(env.jump_rate)
        wins, losses = wins.at[:, arm].add(reward), losses.at[:, arm].add(1 - reward)
        return weights, jnp.roll(wins, 1, 0).at[0].set(0.0), jnp.roll(losses, 1, 0).at[0].set(0.0)

    nothing = jnp.zeros((env.pulls + 1, env.num_arms))
    return Policy((jnp.zeros(env.pulls + 1).at[0].set(1.0), nothing, nothing), score, learn)


def exp3(env: ChangingBandit, explore: float | None = None, share: float = 0.0) -> Policy:
    """Exp3 of Auer et al. 2002 for rewards in [0, 1], with `share` Exp3.S: weights flow to arms that may become good.

    `explore` is their gamma; by default that of their corollary 3.2 for gains of at most the number
    of pulls.
    """
    arms = env.num_arms
    gamma = min(1.0, float(np.sqrt(arms * np.log(arms) / ((np.e - 1) * env.pulls)))) if explore is None else explore

    def chances(weights: Array) -> Array:
        return (1 - gamma) * weights + gamma / arms

    def score(key: PRNGKeyArray, weights: Array, time: Array) -> Array:
        return jnp.log(chances(weights)) + jax.random.gumbel(key, (arms,))

    def learn(weights: Array, arm: Array, reward: Array) -> Array:
        gain = jnp.exp(gamma / arms * reward / chances(weights)[arm])
        weights = weights.at[arm].multiply(gain) + np.e * share / arms * weights.sum()
        return weights / weights.sum()

    return Policy(jnp.full(arms, 1 / arms), score, learn)


def follow_the_leader(env: ChangingBandit) -> Policy:
    """Pull the arm whose pulls paid most on average; first each once."""

    def score(key: PRNGKeyArray, memory: Array, time: Array) -> Array:
        return jnp.where(memory[0] > 0, memory[1] / jnp.maximum(memory[0], 1), jnp.inf)

    def learn(memory: Array, arm: Array, reward: Array) -> Array:
        return memory.at[:, arm].add(jnp.stack([jnp.ones(()), reward]))

    return Policy(jnp.zeros((2, env.num_arms)), score, learn)


def settle(env: AdversarialBandit, enough: float = 0.8) -> Policy:
    """Try arm after arm until one pays `enough`, and stay with the best; when it pays something else, try anew.

    Knows that rewards are constant in a segment, and that all change together.
    """

    def score(key: PRNGKeyArray, paid: Array, time: Array) -> Array:
        return jnp.where((paid < 0) & (paid.max() < enough), 2.0 + jax.random.uniform(key, paid.shape), paid)

    def learn(paid: Array, arm: Array, reward: Array) -> Array:
        changed = (paid[arm] >= 0) & (paid[arm] != reward)
        return jnp.where(changed, -1.0, paid).at[arm].set(reward)

    return Policy(jnp.full(env.num_arms, -1.0), score, learn)


def policy_returns(
    env: ChangingBandit, policy: Policy, key: PRNGKeyArray, num_trials: int
) -> tuple[Float32[Array, " N"], Float32[Array, " N"]]:
    """Returns of a policy in N trials, and of the oracle that pulls the best arm of every step, by expectation."""

    def best(state: Any, task: Any) -> Array:
        if isinstance(env, AdversarialBandit):
            return task.rewards[(task.starts <= state.time).sum() - 1].max()
        return state.chances.max()

    def trial(key: PRNGKeyArray) -> tuple[Array, Array]:
        key_task, key_reset, key_pulls = jax.random.split(key, 3)
        task = env.sample_task(key_task, env.default_params)
        _, state = env.reset_env(key_reset, task)

        def pull(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, tuple[Array, Array]]:
            state, memory = carry
            key_score, key_step = jax.random.split(key)
            arm = jnp.argmax(policy.score(key_score, memory, state.time))
            _, after, reward, _, _ = env.step_env(key_step, state, arm, task)
            return (after, policy.learn(memory, arm, reward)), (reward, best(state, task))

        _, totals = jax.lax.scan(pull, (state, policy.start), jax.random.split(key_pulls, env.pulls))
        return totals[0].sum(), totals[1].sum()

    return jax.lax.map(trial, jax.random.split(key, num_trials), batch_size=min(num_trials, 500))


def best_fixed_arm(env: AdversarialBandit, key: PRNGKeyArray, num_tasks: int) -> Float32[Array, " N"]:
    """Returns of the one arm that pays most in an episode, the comparator of regret, in N tasks."""

    def plan(key: PRNGKeyArray) -> Array:
        task = env.sample_task(key, env.default_params)
        return (jnp.diff(task.starts, append=env.pulls) @ task.rewards).max()

    return jax.vmap(plan)(jax.random.split(key, num_tasks))
