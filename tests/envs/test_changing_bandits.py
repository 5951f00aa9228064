"""Bandits whose arms change: their rules, and what policies return."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draws import tasks

from rlformers.envs.meta.changing_bandits import AdversarialBandit, Arms, NonStationaryBandit, Plan, Pulled, Start
from rlformers.envs.registry import make_env
from tools.references.changing_bandits import (
    best_fixed_arm,
    change_point_ucb,
    discounted_thompson,
    exp3,
    follow_the_leader,
    policy_returns,
    settle,
    sliding_window_ucb,
)


def changes(env, chances, num=4000):
    keys = jax.random.split(jax.random.key(0), num)
    return np.asarray(jax.jit(jax.vmap(env.change, (0, None)))(keys, jnp.asarray(chances)))


def test_arms_jump_together_at_the_given_rate():
    chances = np.array([0.0, 0.25, 1.0], np.float32)
    after = changes(NonStationaryBandit(3, 10, jump_rate=0.1), chances)
    moved = after != chances
    assert (moved.all(1) | ~moved.any(1)).all()
    assert moved.all(1).mean() == pytest.approx(0.1, abs=4 * (0.09 / 4000) ** 0.5)
    anew = after[moved.all(1)]
    np.testing.assert_allclose(anew.mean(0), 0.5, atol=5 * (1 / 12 / len(anew)) ** 0.5)


def test_arms_drift_and_are_reflected():
    after = changes(NonStationaryBandit(3, 10, jump_rate=0.0, drift=0.1), [0.0, 0.5, 1.0])
    assert (after >= 0).all() and (after <= 1).all()
    steps = after - [0.0, 0.5, 1.0]
    np.testing.assert_allclose(steps.mean(0), [0.1 * (2 / np.pi) ** 0.5, 0, -0.1 * (2 / np.pi) ** 0.5], atol=0.007)
    np.testing.assert_allclose((steps**2).mean(0), 0.01, rtol=0.12)


def test_arms_pay_what_they_promise_now():
    env = NonStationaryBandit(3, 10, jump_rate=0.0)
    state = Arms(jnp.array([0.0, 1.0, 0.3]), jnp.int32(8))
    step = jax.jit(jax.vmap(env.step_env, (0, None, None, None)))
    keys = jax.random.split(jax.random.key(1), 2000)
    for arm, chance in ((0, 0.0), (1, 1.0), (2, 0.3)):
        obs, after, rewards, terminated, _ = step(keys, state, arm, Start(state.chances))
        assert float(rewards.mean()) == pytest.approx(chance, abs=0.045)
        assert (after.chances == state.chances).all() and not terminated.any()
        np.testing.assert_allclose(obs, 0.9)
    assert env.step_env(keys[0], state._replace(time=jnp.int32(9)), 0, Start(state.chances))[3]


def test_an_adversarial_plan_step_by_step():
    env = AdversarialBandit(2, 4, segments=2)
    task = Plan(jnp.array([[0.5, 0.25], [0.0, 0.75]]), jnp.array([0, 3]))
    state, rewards, ends = Pulled(jnp.int32(0)), [], []
    for arm in (0, 1, 0, 1):
        _, state, reward, terminated, _ = env.step_env(jax.random.key(0), state, arm, task)
        rewards.append(float(reward))
        ends.append(bool(terminated))
    assert rewards == [0.5, 0.25, 0.5, 0.75] and ends == [False, False, False, True]


def test_the_adversary_lets_the_leader_starve():
    env = AdversarialBandit()
    plans = jax.tree.map(np.asarray, tasks(env, num=500)[0])
    assert (plans.starts[:, 0] == 0).all() and (np.diff(plans.starts) >= 1).all() and (plans.starts < 200).all()
    assert len(np.unique(plans.starts[:, 1])) > 30
    lengths = np.diff(plans.starts, append=200, axis=1)
    totals = np.cumsum(lengths[..., None] * plans.rewards, axis=1)
    leaders = totals[:, :-1].argmax(-1)
    paid = np.take_along_axis(plans.rewards[:, 1:], leaders[..., None], -1)
    assert (paid == 0).all()
    others = plans.rewards[plans.rewards > 0]
    assert others.mean() == pytest.approx(0.5, abs=0.01) and others.max() < 1


@pytest.mark.parametrize(
    ("policy", "expected"), [(change_point_ucb, 148.0), (sliding_window_ucb, 140.1), (discounted_thompson, 133.9)]
)
def test_what_policies_return_of_arms_that_jump(policy, expected):
    env = NonStationaryBandit()
    returns, best = jax.jit(lambda key: policy_returns(env, policy(env), key, 400))(jax.random.key(0))
    assert float((returns - best).mean()) + 1000 / 6 == pytest.approx(expected, abs=2.0)


@pytest.mark.parametrize(
    ("policy", "expected"), [(settle, 149.0), (follow_the_leader, 99.0), (exp3, 86.0), (None, 102.1)]
)
def test_what_policies_return_against_an_adversary(policy, expected):
    env = AdversarialBandit()
    if policy is None:
        returns = best_fixed_arm(env, jax.random.key(0), 4000)
    else:
        returns, best = jax.jit(lambda key: policy_returns(env, policy(env), key, 400))(jax.random.key(0))
        assert float(best.mean()) == pytest.approx(160.8, abs=2.0) and (returns <= best).all()
    assert float(returns.mean()) == pytest.approx(expected, abs=2.5)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("NonStationaryBandit", {"num_arms": 1}, r"env_kwargs\.num_arms: need at least 2, got 1"),
        ("NonStationaryBandit", {"pulls": 0}, r"env_kwargs\.pulls: need at least 1, got 0"),
        ("NonStationaryBandit", {"jump_rate": 1.5}, r"env_kwargs\.jump_rate: need a number in \[0, 1\], got 1.5"),
        ("NonStationaryBandit", {"drift": -0.1}, r"env_kwargs\.drift: need a number in \[0, 1\], got -0.1"),
        ("AdversarialBandit", {"segments": 201}, r"env_kwargs\.segments: need 1 <= segments <= pulls = 200, got 201"),
    ],
)
def test_arguments(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_env(f"meta/{name}", **kwargs)
