"""Policies for bandits that know the prior and the number of pulls: references for what an agent can reach.

The priors are those of the environments: Beta(1, 1) for chances, and a standard normal with unit
noise for means.
"""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, PRNGKeyArray

from rlformers.envs.meta.bandits import Bandit, BernoulliBandit

# From a key, the number of pulls of every arm and the sum of its rewards, a score of every arm; the best is pulled.
Scores = Callable[[PRNGKeyArray, Array, Array], Array]

# Standard deviations above the posterior mean before the first pull; found by trying 0.8 to 3 on 20,000 trials each.
BONUS = {"bernoulli": 1.8, "gaussian": 2.2}


def posterior(env: Bandit, pulls: Array, sums: Array) -> tuple[Array, Array]:
    """Posterior mean and standard deviation of what each arm pays on average."""
    if isinstance(env, BernoulliBandit):
        mean = (1 + sums) / (2 + pulls)
        return mean, jnp.sqrt(mean * (1 - mean) / (3 + pulls))
    return sums / (1 + pulls), jnp.sqrt(1 / (1 + pulls))


def greedy(env: Bandit) -> Scores:
    """Pull the arm with the best posterior mean; of equals that which was pulled least."""
    return lambda key, pulls, sums: posterior(env, pulls, sums)[0] - 1e-5 * pulls


def thompson(env: Bandit) -> Scores:
    """Thompson sampling: pull the arm that is best in a draw from the posterior (Thompson 1933)."""
    if isinstance(env, BernoulliBandit):
        return lambda key, pulls, sums: jax.random.beta(key, 1 + sums, 1 + pulls - sums)

    def scores(key: PRNGKeyArray, pulls: Array, sums: Array) -> Array:
        mean, deviation = posterior(env, pulls, sums)
        return mean + deviation * jax.random.normal(key, pulls.shape)

    return scores


def bayes_ucb(env: Bandit, bonus: float | None = None) -> Scores:
    """An upper bound of the posterior (Kaufmann et al. 2012) that comes down as fewer pulls are left to use it.

    mean + bonus * deviation * sqrt(pulls left / pulls of a trial).
    """
    c = BONUS["bernoulli" if isinstance(env, BernoulliBandit) else "gaussian"] if bonus is None else bonus

    def scores(key: PRNGKeyArray, pulls: Array, sums: Array) -> Array:
        mean, deviation = posterior(env, pulls, sums)
        return mean + c * deviation * jnp.sqrt(1 - pulls.sum() / env.pulls)

    return scores


def gittins(env: Bandit) -> Scores:
    """The Gittins index for a finite horizon (Kaufmann 2018, "On Bayesian index policies", section 4).

    The index of an arm with h pulls left is the sure payment per pull for which one would give it
    up at once. It is the optimum for a discounted bandit without end; here it is very good, and not
    exactly the optimum.
    """
    if isinstance(env, BernoulliBandit):
        table = jnp.asarray(bernoulli_indices(env.pulls))

        def scores(key: PRNGKeyArray, pulls: Array, sums: Array) -> Array:
            left = (env.pulls - pulls.sum()).astype(int)
            return table[left, pulls.astype(int), sums.astype(int)]

        return scores
    extra = jnp.asarray(gaussian_extras(env.pulls))

    def scores_of_normal(key: PRNGKeyArray, pulls: Array, sums: Array) -> Array:
        left = (env.pulls - pulls.sum()).astype(int)
        return posterior(env, pulls, sums)[0] + extra[left, pulls.astype(int)]

    return scores_of_normal


@cache
def bernoulli_indices(pulls: int, num_payments: int = 256) -> np.ndarray:
    """Indices of an arm that paid s times in n pulls, with h pulls left: float32 [h, n, s], 0 where n + h > `pulls`.

    Dynamic programming for a grid of sure payments; between two of them the advantage of going on
    is interpolated.
    """
    payment = np.linspace(0, 1, num_payments)[:, None, None]
    n, s = np.arange(pulls + 1)[:, None], np.arange(pulls + 1)[None, :]
    chance = np.where(s <= n, (1 + s) / (2 + n), 0.5)
    value = np.zeros((num_payments, pulls + 2, pulls + 2))  # [payment, n, s] with h - 1 pulls left
    indices = np.zeros((pulls + 1, pulls + 1, pulls + 1), np.float32)
    for h in range(1, pulls + 1):
        go_on = chance * (1 + value[:, 1:, 1:]) + (1 - chance) * value[:, 1:, :-1]
        advantage = go_on - payment * h  # falls with the payment
        last = np.maximum((advantage >= 0).sum(0) - 1, 0)  # the last payment that is refused
        here = np.take_along_axis(advantage, last[None], 0)[0]
        after = np.take_along_axis(advantage, np.minimum(last + 1, num_payments - 1)[None], 0)[0]
        step = np.where(here > after, here / np.maximum(here - after, 1e-12), 0)
        index = (last + np.clip(step, 0, 1)) / (num_payments - 1)
        indices[h] = np.where((n + h <= pulls) & (s <= n), index, 0)
        value[:, :-1, :-1] = np.maximum(go_on, payment * h)
    return indices


@cache
def gaussian_extras(pulls: int, num_points: int = 601, num_nodes: int = 121) -> np.ndarray:
    """How far the index of an arm lies above its posterior mean, after n pulls, with h left: float32 [h, n].

    With d = mean - payment, the value of going on over the payment depends on d, n and h alone. d
    is on a grid in units of the posterior's deviation; the expectation is a midpoint rule, which
    kinks do not hurt.
    """
    grid = np.linspace(-6, 6, num_points)
    nodes = np.linspace(-5, 5, num_nodes)
    weights = np.exp(-(nodes**2) / 2) / np.exp(-(nodes**2) / 2).sum()
    value = np.zeros((pulls + 2, num_points))  # [n, d] with h - 1 pulls left
    extras = np.zeros((pulls + 1, pulls + 1), np.float32)
    for h in range(1, pulls + 1):
        new = value.copy()
        for n in range(pulls - h + 1):
            here, next_ = 1 / np.sqrt(n + 1), 1 / np.sqrt(n + 2)  # deviations of the posterior
            d = grid * here
            after = d[:, None] + np.sqrt(here**2 - next_**2) * nodes
            # Beyond the grid going on for ever is right: d a pull.
            beyond = (h - 1) * np.maximum(after - grid[-1] * next_, 0)
            go_on = d + (np.interp(after, grid * next_, value[n + 1]) + beyond) @ weights
            extras[h, n] = -np.interp(0.0, go_on, d)
            new[n] = np.maximum(go_on, 0)
        value = new
    return extras


def bandit_returns(
    env: Bandit, scores: Scores, key: PRNGKeyArray, num_trials: int
) -> tuple[Float32[Array, " N"], Float32[Array, " N"]]:
    """Returns of a policy in N trials, and what the best arm of each is expected to return.

    The difference varies less than the return. The mean of the second is known for whole
    distributions of tasks: 100 pulls of the best of 10 uniform arms return 1000 / 11.
    """

    def trial(key: PRNGKeyArray) -> tuple[Array, Array]:
        key_task, key_pulls = jax.random.split(key)
        task = env.sample_task(key_task, env.default_params)

        def pull(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, Array]:
            pulls, sums = carry
            key_scores, key_reward = jax.random.split(key)
            arm = jnp.argmax(scores(key_scores, pulls, sums))
            reward = env.pull(key_reward, task.means[arm])
            return (pulls.at[arm].add(1), sums.at[arm].add(reward)), reward

        nothing = jnp.zeros(env.num_arms)
        _, rewards = jax.lax.scan(pull, (nothing, nothing), jax.random.split(key_pulls, env.pulls))
        return rewards.sum(), env.pulls * task.means.max()

    return jax.lax.map(trial, jax.random.split(key, num_trials), batch_size=min(num_trials, 1000))
