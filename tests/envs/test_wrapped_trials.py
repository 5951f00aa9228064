"""`wrap.*` of trials: sensors, actions and rewards are those of an attempt, and the agent is told what happened."""

from dataclasses import asdict

import jax
import numpy as np
import pytest

from rlformers.config import WrapConfig
from rlformers.envs import check
from rlformers.envs.registry import make_env
from rlformers.envs.wrappers import RewardInput
from rlformers.envs.wrappers.keywords import wrap
from rlformers.envs.wrappers.timing import ActionRepeat
from rlformers.envs.wrappers.trial import Trial

EVERYTHING = {"action_repeat": 2, "delay": 1, "frame_drop": 0.2, "flicker": 0.2, "period": 2, "flag": True}
EVERYTHING |= {"reward_delay": 2, "reward_input": True, "episode_start": True}


def play(name, num_steps, **wraps):
    """Observations (the first included), rewards, and `terminated | truncated` of random play."""
    env, params = make_env(name, raw=True, wrap=wraps)

    def step(state, key):
        action = env.action_space(params).sample(key)
        obs, state, reward, terminated, truncated, info = env.step(key, state, action, params)
        return state, (obs, info["final_observation"], reward, terminated | truncated)

    def scan():
        obs, state = env.reset(jax.random.key(0), params)
        return obs, jax.lax.scan(step, state, jax.random.split(jax.random.key(1), num_steps))[1]

    return jax.tree.map(np.asarray, jax.jit(scan)())


def test_an_action_is_repeated_within_an_attempt():
    """20 steps are 7 times three of them, the last time two."""
    _, (_, final, reward, done) = play("meta/DarkRoom", 70, action_repeat=3)
    assert final["episode_end"].nonzero()[0].tolist() == list(range(6, 70, 7))
    assert done.nonzero()[0].tolist() == [34, 69]
    np.testing.assert_array_equal(final["previous_reward"], reward)
    _, (_, final, reward, _) = play("meta/BernoulliBandit", 33, action_repeat=3)
    np.testing.assert_array_equal(final["previous_reward"], reward)
    assert reward.max() == 3


def test_late_rewards_are_seen_when_they_are_paid():
    _, (_, now, early, _) = play("meta/BernoulliBandit", 100)
    _, (_, seen, late, _) = play("meta/BernoulliBandit", 100, reward_delay=10)
    np.testing.assert_array_equal(now["previous_reward"], early)
    np.testing.assert_array_equal(seen["previous_reward"], late)
    np.testing.assert_array_equal(late[10:99], early[:89])
    assert not late[:10].any() and late.sum() == early.sum()


def test_a_late_sensor_shows_nothing_of_the_attempt_before():
    first, (obs, *_, done) = play("meta/DarkRoom", 60, delay=2)
    for t in (19, 39, 59):
        np.testing.assert_array_equal(obs["observation"][t], first["observation"])
    assert not done.any()


def test_what_is_told_is_about_the_trial():
    env, _ = make_env("meta/DarkRoom", raw=True, wrap={"delay": 2, "reward_input": True})
    assert isinstance(env, RewardInput) and isinstance(env.env, Trial) and not isinstance(env.env.env, Trial)
    env, _ = make_env("meta/DarkRoom", raw=True, wrap={"action_repeat": 2})
    assert isinstance(env, Trial) and isinstance(env.env, ActionRepeat) and env.episodes == 5
    trial = Trial(env.env, episodes=2)
    assert wrap(trial, **asdict(WrapConfig())) is trial


@pytest.mark.parametrize(
    "name",
    ["meta/DarkRoom", *(pytest.param(f"meta/{name}", marks=pytest.mark.slow) for name in ("Alchemy", "PointRobot"))],
)
def test_wrapped_trials_keep_the_protocol(name):
    env, params = make_env(name, raw=True, wrap=EVERYTHING)
    check(env, params, num_envs=2, num_steps=32).raise_for_failures()


def test_trials_without_tasks_do_not_tell_them_apart():
    env, params = make_env("gymnax/CartPole-v1", raw=True)
    trial = Trial(env, episodes=2)
    _, state = jax.eval_shape(trial.reset, jax.random.key(0), params)
    info = jax.eval_shape(trial.step, jax.random.key(0), state, 0, params)[-1]
    assert "episode_attempt_return" in info and "episode_task" not in info
