"""Tasks of neuroscience: two steps, and Harlow's objects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draws import tasks

from rlformers.envs.meta.harlow import Harlow, errorless_after_one
from rlformers.envs.meta.harlow import State as Shown
from rlformers.envs.meta.harlow import Task as Objects
from rlformers.envs.meta.two_step import CHOICE, LEFT, RIGHT, State, Task, TwoStep
from rlformers.envs.registry import make_env
from tools.references.two_step import Rounds, model_based, model_free, play, stay_table

KEYS = jax.random.split(jax.random.key(0), 4000)


def step(env, state, action):
    return jax.jit(jax.vmap(env.step_env, (0, None, None, None)))(KEYS, state, action, Task(jnp.int32(0)))


def test_choices_lead_where_they_mostly_lead():
    env = TwoStep()
    state = State(jnp.int32(CHOICE), jnp.int32(0), jnp.int32(0))
    for action, place in ((0, LEFT), (1, RIGHT)):
        obs, after, rewards, terminated, _ = step(env, state, action)
        assert set(np.unique(obs).tolist()) == {LEFT, RIGHT} and (after.place == obs).all()
        assert float((obs == place).mean()) == pytest.approx(0.8, abs=4 * (0.16 / 4000) ** 0.5)
        assert not rewards.any() and not terminated.any() and (after.good == 0).all()


def test_places_pay_and_roles_change():
    env = TwoStep(rounds=3, reversal_rate=0.2)
    for place, chance in ((LEFT, 0.1), (RIGHT, 0.9)):
        obs, after, rewards, terminated, _ = step(env, State(jnp.int32(place), jnp.int32(1), jnp.int32(3)), 0)
        assert (obs == CHOICE).all() and not terminated.any()
        assert float(rewards.mean()) == pytest.approx(chance, abs=4 * (0.09 / 4000) ** 0.5)
        assert float((after.good == 0).mean()) == pytest.approx(0.2, abs=4 * (0.16 / 4000) ** 0.5)
    assert step(env, State(jnp.int32(LEFT), jnp.int32(1), jnp.int32(5)), 0)[3].all()
    assert set(tasks(env, num=50)[0].good.tolist()) == {0, 1}


def test_a_round_is_two_steps():
    env = TwoStep(rounds=2, common=1.0, reward_chance=1.0, reversal_rate=0.0)
    _, state = env.reset_env(KEYS[0], Task(jnp.int32(1)))
    seen = []
    for action in (1, 0, 0, 1):
        obs, state, reward, terminated, _ = env.step_env(KEYS[0], state, action, Task(jnp.int32(1)))
        seen.append((int(obs), float(reward), bool(terminated)))
    assert seen == [(RIGHT, 0, False), (CHOICE, 1, False), (LEFT, 0, False), (CHOICE, 0, True)]


def test_the_stay_table_by_hand():
    rounds = Rounds(
        choices=np.array([[0, 0, 1, 1, 0]]),
        common=np.array([[True, True, False, False, True]]),
        rewards=np.array([[1.0, 0.0, 1.0, 1.0, 0.0]]),
    )
    np.testing.assert_equal(stay_table(rounds), [[np.nan, 0.0], [0.5, 1.0]])


def test_agents_with_and_without_a_model():
    env = TwoStep()
    planned = jax.jit(lambda key: play(env, model_based(env), key, 1000))(jax.random.key(0))
    assert float(planned.rewards.sum(1).mean()) == pytest.approx(70.6, abs=0.8)
    np.testing.assert_allclose(stay_table(planned), [[1, 0.665], [0.663, 1]], atol=0.02)
    repeated = jax.jit(lambda key: play(env, model_free(env), key, 1000, softmax=True))(jax.random.key(0))
    assert float(repeated.rewards.sum(1).mean()) == pytest.approx(65.2, abs=1.0)
    table = stay_table(repeated)
    assert abs(table[1, 1] - table[1, 0]) < 0.03 and (table[1] > table[0] + 0.15).all()


def test_bayes_rule_of_the_model_by_hand():
    env = TwoStep()
    policy = model_based(env)
    right = policy.learn(policy.start, jnp.int32(0), jnp.int32(1), jnp.float32(1))
    assert float(right) == pytest.approx(0.9 * 0.975 + 0.1 * 0.025)
    assert float(policy.learn(policy.start, jnp.int32(0), jnp.int32(0), jnp.float32(1))) == pytest.approx(0.12)


def test_harlow():
    env = Harlow(dimensions=2)
    task = Objects(jnp.array([[1.0, 0.0], [0.0, 1.0]]))
    for swapped in (False, True):
        state = Shown(jnp.bool_(swapped), jnp.int32(0))
        rewards = [env.step_env(KEYS[0], state, action, task)[2] for action in (0, 1)]
        assert rewards == ([0, 1] if swapped else [1, 0])
        obs, _, _, terminated, _ = env.step_env(KEYS[0], state, 0, task)
        assert terminated and obs[int(swapped)].tolist() == [1, 0]
    swapped = jax.vmap(env.reset_env, (0, None))(KEYS, task)[1].swapped
    assert float(swapped.mean()) == pytest.approx(0.5, abs=0.04)
    objects = np.asarray(tasks(Harlow(), num=2000)[0].objects)
    np.testing.assert_allclose(np.linalg.norm(objects, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(objects.mean(0), 0, atol=5 * (1 / 8 / 2000) ** 0.5)


def test_who_remembers_the_objects_errs_once():
    env, params = make_env("meta/Harlow", raw=True)
    step = jax.jit(env.step)
    totals = []
    for seed in range(30):
        obs, state = env.reset(jax.random.key(seed), params)
        right, total, ended = None, 0.0, False
        while not ended:
            left, other = np.asarray(obs["observation"])
            action = 0 if right is None or np.allclose(left, right) else 1
            obs, state, reward, ended, _, info = step(jax.random.key(int(total) * 7 + seed), state, action, params)
            chosen, refused = (left, other) if action == 0 else (other, left)
            right, total = (chosen if reward > 0 else refused), total + float(reward)
        totals.append(total)
        assert np.asarray(info["episode_attempt_return"])[1:].tolist() == [1.0] * 5
    assert set(totals) == {5.0, 6.0} and errorless_after_one(6) == 5.5


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("TwoStep", {"rounds": 0}, r"env_kwargs\.rounds: need at least 1, got 0"),
        ("TwoStep", {"common": 0.4}, r"env_kwargs\.common: need a number in \[0\.5, 1\], got 0\.4"),
        ("TwoStep", {"reversal_rate": 2.0}, r"env_kwargs\.reversal_rate: need a number in \[0, 1\], got 2"),
        ("Harlow", {"dimensions": 0}, r"env_kwargs\.dimensions: need at least 1, got 0"),
    ],
)
def test_arguments(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_env(f"meta/{name}", **kwargs)
