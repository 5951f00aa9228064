"""The environment protocol over a table of ids, and optimal policies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.adapters.gymnax_catalogue import GYMNAX_IDS
from rlformers.envs.registry import make_env, names, replace_params
from rlformers.envs.wrappers import EpisodeStatistics

TABLE = [
    "popgym/RepeatPreviousEasy",
    "popgym/RepeatFirstEasy",
    "popgym/PositionOnlyCartPoleEasy",
    "popgym/PositionOnlyPendulumEasy",
    "memory/TMaze",
    "memory/ActiveTMaze",
    "gymnax/MemoryChain-bsuite",
    "gymnax/CartPole-v1",
    "gymnax/Catch-bsuite",
]
# MNISTBandit downloads a data set.
SLOW = [name for name in names() if name not in TABLE and "MNIST" not in name]


@pytest.mark.parametrize("name", TABLE + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW])
def test_scans_resets_and_keeps_types(name):
    env, params = make_env(name)
    env = EpisodeStatistics(env)
    obs, state = jax.vmap(env.reset, (0, None))(jax.random.split(jax.random.key(0), 3), params)

    def step(carry, key):
        obs, state = carry
        keys = jax.random.split(key, 3)
        action = jax.vmap(env.action_space(params).sample)(keys)
        obs, state, reward, terminated, truncated, info = jax.vmap(env.step, (0, 0, 0, None))(
            keys, state, action, params
        )
        done = terminated | truncated
        return (obs, state), (obs, info["final_observation"], reward, done, truncated, info["episode_length"])

    _, (obs, final, reward, done, truncated, length) = jax.jit(
        lambda carry: jax.lax.scan(step, carry, jax.random.split(jax.random.key(1), 60))
    )((obs, state))
    assert reward.dtype == jnp.float32 and done.dtype == bool
    space = env.observation_space(params)
    assert obs.shape[2:] == tuple(space.shape) and obs.dtype == space.dtype
    same = np.isclose(obs, final).reshape(60, 3, -1).all(-1)
    assert same[~np.asarray(done)].all()
    if env.never_truncates:
        assert not np.asarray(truncated).any()
    since = np.zeros(3, int)
    for t in range(60):
        since += 1
        np.testing.assert_array_equal(length[t], since)
        since[np.asarray(done[t])] = 0


def test_the_gymnax_ids_are_gymnaxs():
    import gymnax

    assert set(GYMNAX_IDS) == set(gymnax.registered_envs)


@pytest.mark.parametrize("name,last", [("memory/TMaze", 1), ("memory/ActiveTMaze", 1)])
def test_the_optimal_walk_reaches_one(name, last):
    env, params = make_env(name, raw=True)
    params = replace_params(params, length=5)
    for seed in range(4):
        obs, state = env.reset(jax.random.key(seed), params)
        total, cue, done = 0.0, int(obs[1]), False
        while not done:
            if name.endswith("ActiveTMaze") and cue == 0:
                action = 2
            elif obs[0] == 1:
                action = 1 if cue == 1 else 3
            else:
                action = 0
            obs, state, reward, terminated, _, _ = env.step(jax.random.key(0), state, action, params)
            cue, total, done = cue or int(obs[1]), total + float(reward), bool(terminated)
        assert total == last


@pytest.mark.parametrize("k", [1, 4])
def test_repeating_the_kth_last_suit_reaches_one(k):
    env, params = make_env("popgym/RepeatPreviousEasy", raw=True, k=k)
    suit, state = env.reset(jax.random.key(3), params)
    seen, total, done, steps = [int(suit)], 0.0, False, 0
    while not done:
        answer = seen[-k] if len(seen) >= k else 0
        suit, state, reward, terminated, _, info = env.step(jax.random.key(steps), state, answer, params)
        total, done, steps = total + float(reward), bool(terminated), steps + 1
        seen.append(int(info["final_observation"]))
    assert steps == 51 and total == pytest.approx(1.0, abs=1e-5)
    assert np.bincount(seen).tolist() == [13] * 4


def test_previous_action_and_start_flag_sit_inside_the_reset():
    env, params = make_env("popgym/RepeatPreviousEasy")
    obs, state = env.reset(jax.random.key(0), params)
    assert obs.shape == (9,) and obs[8] == 1 and obs[4] == 1
    for t in range(51):
        obs, state, _, terminated, _, info = env.step(jax.random.key(t), state, 2, params)
        np.testing.assert_array_equal(info["final_observation"][4:], [0, 0, 1, 0, 0])
    assert terminated
    np.testing.assert_array_equal(obs[4:], [1, 0, 0, 0, 1])


@pytest.mark.parametrize(
    "name,kwargs,params,key",
    [
        ("popgym/RepeatPreviousEasi", {}, {}, "env:"),
        ("memory/TMaze", {"lenth": 3}, {}, "env_kwargs.lenth"),
        ("memory/TMaze", {}, {"lenth": 3}, "env_params.lenth"),
        ("memory/TMaze", {}, {"length": "long"}, "env_params.length"),
    ],
)
def test_bad_names_are_named(name, kwargs, params, key):
    with pytest.raises(ValueError, match=key) as error:
        replace_params(make_env(name, **kwargs)[1], **params)
    assert "\n" not in str(error.value)
