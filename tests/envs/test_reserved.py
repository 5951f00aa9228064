"""Names that belong to the learner are refused, and rewards are taken in any harmless form."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from rlformers.command.main import main
from rlformers.envs import EpisodeStatistics, Trial, check, registry
from rlformers.envs.environment import Environment, TimedParams
from rlformers.envs.spaces import Box, Discrete
from rlformers.errors import UserError


class State(NamedTuple):
    time: jax.Array


class Reports(Environment):
    """Reports something in its info, and pays 1 in some form."""

    default_params = TimedParams(max_steps_in_episode=10)

    def __init__(self, name="episode_score", reward=None):
        self.reported, self.reward = name, jnp.float32(1) if reward is None else reward

    def reset_env(self, key, params):
        return jnp.zeros(1), State(jnp.int32(0))

    def step_env(self, key, state, action, params):
        time = state.time + 1
        return jnp.zeros(1), State(time), self.reward, jnp.zeros((), bool), {self.reported: jnp.float32(7)}

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-1.0, 1.0, (1,))


TAKEN = [
    "episode_count",
    "episode_return",
    "episode_length",
    "episode_task",
    "episode_attempt_return",
    "episode_attempt_x",
]


@pytest.mark.parametrize("name", TAKEN)
def test_names_of_the_learner_are_refused(name, tmp_path, monkeypatch, capsys):
    report = check(Reports(name, jnp.float32(1)), num_envs=2, num_steps=8)
    (line,) = report.failures
    assert f"env: Reports reports info['{name}'], a name of the learner's own: episode_count, " in line
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.register_env("test/Reports", Reports, kwargs={"name": name})
    monkeypatch.chdir(tmp_path)
    assert main(["train", "env=test/Reports", "core=mlp", "total_steps=1e4", "run_dir=run"]) == 2
    assert f"reports info['{name}']" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "env",
    [
        Reports("episode_score", jnp.float32(1)),
        EpisodeStatistics(Reports("score", jnp.float32(1))),
        Trial(Reports("score", jnp.float32(1)), episodes=2),
    ],
    ids=lambda env: type(env).__name__,
)
def test_other_names_and_those_of_wrappers_pass(env):
    assert check(env, num_envs=2, num_steps=4, quick=True).ok


def test_a_trial_of_what_reports_attempts_is_refused():
    with pytest.raises(UserError, match=r"info\['episode_attempt_x'\]"):
        env = EpisodeStatistics(Trial(Reports("episode_attempt_x"), episodes=2))
        jax.eval_shape(env.step, jax.random.key(0), jax.eval_shape(env.reset, jax.random.key(0))[1], 0)


@pytest.mark.parametrize("reward", [1, 1.0, True, jnp.ones(1), jnp.int32(1), jnp.ones((1, 1), jnp.float16)], ids=repr)
def test_rewards_in_any_form_are_numbers(reward):
    env = EpisodeStatistics(Reports(reward=reward))
    _, state = env.reset(jax.random.key(0))
    _, state, paid, terminated, _, info = env.step(jax.random.key(0), state, 0)
    assert (paid.shape, paid.dtype, float(paid)) == ((), jnp.float32, 1.0)
    assert info["episode_return"] == 1 and terminated.dtype == bool
    assert check(Reports(reward=reward), num_envs=2, num_steps=8).ok  # as in training
    assert check(Reports(reward=reward), num_envs=2, num_steps=2, quick=True).ok


@pytest.mark.parametrize("reward", [jnp.ones(2), jnp.complex64(1)], ids=repr)
def test_other_rewards_are_refused_by_the_checker(reward):
    (line,) = check(Reports(reward=reward), num_envs=2, num_steps=8).failures
    assert line.endswith(", need float32[]")


def test_names_that_would_be_one_are_refused_by_the_checker(monkeypatch):
    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, _ = Reports.step_env(self, key, state, action, params)
        return obs, state, reward, terminated, {"episode_a": jnp.ones(2), "episode_a_2": jnp.ones(())}

    both = type("Both", (Reports,), {"step_env": step_env})()
    (line,) = check(both, num_envs=2, num_steps=8).failures
    assert "info['episode_a'] and info['episode_a_2'], which would both be episode/a_2; rename one" in line
