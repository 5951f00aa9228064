"""References for bandits: indices with known values, and what policies return."""

import jax
import numpy as np
import pytest
from scipy.stats import norm

from rlformers.envs.meta.bandits import BernoulliBandit, GaussianBandit
from tools.references.bandits import (
    bandit_returns,
    bayes_ucb,
    bernoulli_indices,
    gaussian_extras,
    gittins,
    greedy,
    thompson,
)

BEST = {BernoulliBandit: 1000 / 11, GaussianBandit: 153.875}  # E max of 10 arms, times 100 pulls


def test_the_index_of_a_chance_by_hand():
    indices = bernoulli_indices(4)
    # One pull left: the posterior mean. Two left, nothing known: q = 1/2 + q/2 + 1/2 max(q, 2/3) - q/2 at q = 5/9.
    assert indices[1, 3, 2] == pytest.approx(3 / 5, abs=1e-6)
    assert indices[2, 0, 0] == pytest.approx(5 / 9, abs=1e-6)
    more = [indices[h, 0, 0] for h in range(1, 5)]
    assert more == sorted(more) and more[0] == pytest.approx(0.5) and more[-1] < 1


def test_the_index_of_an_arm_equals_a_search_without_tables():
    """The sure payment at which one pull more is worth as much, by recursion and bisection."""

    def value(q, h, n, s):
        if h == 0:
            return 0.0
        return max(q * h, go_on(q, h, n, s))

    def go_on(q, h, n, s):
        p = (1 + s) / (2 + n)
        return p * (1 + value(q, h - 1, n + 1, s + 1)) + (1 - p) * value(q, h - 1, n + 1, s)

    indices = bernoulli_indices(6, 2048)
    for h, n, s in ((2, 1, 0), (3, 1, 1), (4, 2, 1), (6, 0, 0), (5, 1, 0)):
        low, high = 0.0, 1.0
        for _ in range(40):
            q = (low + high) / 2
            low, high = (q, high) if go_on(q, h, n, s) > q * h else (low, q)
        assert indices[h, n, s] == pytest.approx(low, abs=1e-5), (h, n, s)


def test_the_extra_of_a_normal_arm_by_hand():
    extras = gaussian_extras(3)
    assert extras[1] == pytest.approx(0, abs=1e-6)
    # Two pulls left after n: x = E max(0, spread z - x), with spread^2 = 1 / (n + 1) - 1 / (n + 2).
    for n in (0, 1):
        spread = np.sqrt(1 / (n + 1) - 1 / (n + 2))
        x = extras[2, n] / spread
        assert norm.pdf(x) - x * norm.sf(x) == pytest.approx(x, abs=1e-3)


@pytest.mark.parametrize(
    ("bandit", "policy", "expected", "within"),
    [
        (BernoulliBandit, thompson, 77.1, 1.0),
        (BernoulliBandit, greedy, 79.6, 1.4),
        (BernoulliBandit, bayes_ucb, 83.7, 0.8),
        (BernoulliBandit, gittins, 83.7, 0.8),
        (GaussianBandit, thompson, 115.9, 2.2),
        (GaussianBandit, greedy, 96.7, 6.0),
        (GaussianBandit, bayes_ucb, 129.2, 2.2),
        pytest.param(GaussianBandit, gittins, 129.4, 2.2, marks=pytest.mark.slow),
    ],
)
def test_what_policies_return(bandit, policy, expected, within):
    env = bandit()
    returns, best = jax.jit(lambda key: bandit_returns(env, policy(env), key, 400))(jax.random.key(0))
    # The regret varies less than the return does; the mean of the best arm is known.
    assert float((returns - best).mean()) + BEST[bandit] == pytest.approx(expected, abs=within)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arms", "pulls", "expected"),
    [(10, 200, 0.723), (20, 400, 0.822), (30, 600, 0.860)],
    ids=["Easy", "Medium", "Hard"],
)
def test_bayes_ucb_in_the_bandits_of_popgym(arms, pulls, expected):
    """MultiarmedBandit pays 1/T and -1/T instead of 1 and 0."""
    env = BernoulliBandit(arms, pulls)
    returns, best = jax.jit(lambda key: bandit_returns(env, bayes_ucb(env), key, 2000))(jax.random.key(0))
    chance = arms / (arms + 1) + float((returns - best).mean()) / pulls
    assert 2 * chance - 1 == pytest.approx(expected, abs=0.006)
