"""Agents for the two-step task, and the table that tells them apart."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32, PRNGKeyArray

from rlformers.envs.meta.two_step import LEFT, TwoStep


class Policy(NamedTuple):
    """What to choose: the action of the higher score, of equals either."""

    start: Any  # what is remembered before the first round
    score: Callable[[Any], Array]  # from the memory to scores [2]
    learn: Callable[[Any, Array, Array, Array], Any]  # from the memory, a choice, the place [0, 1] and the reward


class Rounds(NamedTuple):
    """What happened in N episodes of R rounds."""

    choices: Int32[Array, "N R"]
    common: Bool[Array, "N R"]  # the choice ended where it mostly ends
    rewards: Float32[Array, "N R"]


def model_based(env: TwoStep) -> Policy:
    """Bayes' rule for which place is good, given all rates, and the choice that mostly ends there.

    This is optimal: both places tell as much about which one is good, so that no choice is worth
    more later.
    """

    def score(right: Array) -> Array:
        return jnp.stack([1 - right, right])

    def learn(right: Array, choice: Array, place: Array, reward: Array) -> Array:
        speaks_for_right = (place == 1) == (reward > 0)
        like = jnp.where(speaks_for_right, env.reward_chance, 1 - env.reward_chance)
        right = right * like / (right * like + (1 - right) * (1 - like))
        return right * (1 - env.reversal_rate) + (1 - right) * env.reversal_rate

    return Policy(jnp.float32(0.5), score, learn)


def model_free(env: TwoStep, learning_rate: float = 0.5, explore: float = 0.1) -> Policy:
    """Values of the choices, learnt from the rewards that followed (SARSA(1)), wherever they were paid."""

    def learn(values: Array, choice: Array, place: Array, reward: Array) -> Array:
        return values.at[choice].add(learning_rate * (reward - values[choice]))

    return Policy(jnp.full(2, 0.5), lambda values: values / explore, learn)


def play(env: TwoStep, policy: Policy, key: PRNGKeyArray, num_episodes: int, softmax: bool = False) -> Rounds:
    """Episodes of a policy; with `softmax` its scores are logits."""

    def episode(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        key_task, key_reset, key_rounds = jax.random.split(key, 3)
        task = env.sample_task(key_task, env.default_params)
        _, state = env.reset_env(key_reset, task)

        def round_(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, tuple[Array, Array, Array]]:
            state, memory = carry
            key_choice, key_go, key_leave = jax.random.split(key, 3)
            noise = jax.random.gumbel(key_choice, (2,)) * (1.0 if softmax else 1e-6)
            choice = jnp.argmax(policy.score(memory) + noise).astype(jnp.int32)
            place, state, *_ = env.step_env(key_go, state, choice, task)
            _, state, reward, *_ = env.step_env(key_leave, state, jnp.int32(0), task)
            memory = policy.learn(memory, choice, place - LEFT, reward)
            return (state, memory), (choice, place - LEFT == choice, reward)

        return jax.lax.scan(round_, (state, policy.start), jax.random.split(key_rounds, env.rounds))[1]

    return Rounds(*jax.vmap(episode)(jax.random.split(key, num_episodes)))


def stay_table(rounds: Rounds) -> Float[np.ndarray, "2 2"]:
    """How often the choice of one round is made again in the next, by [rewarded?, common transition?].

    After a reward, who plans repeats the choice if the transition was common, and not if it was
    rare; who repeats what was rewarded does not tell them apart (Daw et al. 2011, figure 2). The
    first row says less: no reward after a common transition speaks for a bad choice by itself (Akam
    et al. 2015). NaN where a case did not happen.
    """
    stays = np.asarray(rounds.choices[:, 1:] == rounds.choices[:, :-1])
    rewarded, common = np.asarray(rounds.rewards[:, :-1]) > 0, np.asarray(rounds.common[:, :-1])
    table = np.full((2, 2), np.nan)
    for i, j in np.ndindex(2, 2):
        case = (rewarded == i) & (common == j)
        if case.any():
            table[i, j] = stays[case].mean()
    return table
