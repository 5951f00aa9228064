"""Trials: every boundary by hand, tasks that stay and go, splits that do not overlap, statistics of attempts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.agent import Agent
from rlformers.agents.policies import make_policy
from rlformers.agents.ppo import ppo
from rlformers.config import ExperimentConfig, PPOConfig
from rlformers.cores.registry import make_core
from rlformers.envs import spaces
from rlformers.envs.environment import never_truncates
from rlformers.envs.meta.task import MetaEnvironment, Tasks, sample_task, split_tasks
from rlformers.envs.popgym.position_only_cartpole import PositionOnlyCartPole
from rlformers.envs.registry import make_env, names
from rlformers.envs.wrappers import EpisodeStatistics, TimeLimit
from rlformers.envs.wrappers.flatten import Flatten
from rlformers.envs.wrappers.trial import Trial
from rlformers.experiment.training.episode_sums import EpisodeSums

META = [name for name in names() if name.startswith("meta/")]


class State(NamedTuple):
    time: jax.Array
    first: jax.Array


class World(MetaEnvironment):
    """Observes (steps made, a random number of the episode); ends by action 1, and after 3 steps by truncation.

    The task is a number in 0 .. 9; every step pays 10 times it, plus the action. It is the random number's thousands.
    """

    def sample_task(self, key, params):
        return jax.random.randint(key, (), 0, 10)

    def reset_env(self, key, task):
        state = State(jnp.zeros((), jnp.int32), 1000 * task + jax.random.randint(key, (), 0, 1000))
        return jnp.stack(state), state

    def step_env(self, key, state, action, task):
        state = State(state.time + 1, state.first)
        return jnp.stack(state), state, (10 * task + action).astype(jnp.float32), action == 1, {}

    def is_truncated(self, state, task):
        return state.time >= 3

    def action_space(self, params=None):
        return spaces.Discrete(2)

    def observation_space(self, params):
        return spaces.MultiDiscrete((4, 10000))


def play(env, actions, seed=0):
    """Observations (the first included), states likewise, and the rest of every step, as lists."""
    obs, state = env.reset(jax.random.key(seed), env.default_params)

    def step(state, action_and_key):
        action, key = action_and_key
        obs, state, *rest = env.step(key, state, action, env.default_params)
        return state, (obs, state, *rest)

    keys = jax.random.split(jax.random.key(seed + 1), len(actions))
    _, steps = jax.lax.scan(step, state, (jnp.array(actions), keys))
    join = lambda first, rest: jnp.concatenate([jnp.asarray(first)[None], rest])  # noqa: E731
    observations, states = jax.tree.map(join, (obs, state), steps[:2])
    return observations, states, *steps[2:]


def test_a_trial_of_two_episodes_step_by_step():
    env = Trial(World(), episodes=2)
    #          first episode | second: time limit | next trial: first episode | second
    actions = [0, 1, 0, 0, 0, 1, 0]
    obs, states, reward, terminated, truncated, info = play(env, actions)
    assert obs["observation"][:, 0].tolist() == [0, 1, 0, 1, 2, 0, 0, 1]
    assert obs["episode_end"].tolist() == [0, 0, 1, 0, 0, 0, 1, 0]
    assert obs["trial_start"].tolist() == [1, 0, 0, 0, 0, 1, 0, 0]
    assert obs["previous_action"].tolist() == [0, 0, 1, 0, 0, 0, 1, 0]
    assert terminated.tolist() == [False] * 4 + [True] + [False] * 2
    assert not truncated.any() and never_truncates(env)

    first, second = (10 * int(states.task[t]) for t in (0, 5))
    assert states.task.tolist() == [first // 10] * 5 + [second // 10] * 3
    rewards = [first, first + 1, first, first, first, second + 1, second]
    assert info["episode_task"].tolist() == [[first // 10]] * 5 + [[second // 10]] * 2
    assert reward.tolist() == rewards
    assert obs["previous_reward"].tolist() == [0, *rewards[:4], 0, *rewards[5:]]
    returns, count = info["episode_attempt_return"], info["episode_attempt_count"]
    assert returns.tolist()[:5] == [[0, 0]] + [[2 * first + 1, 0]] * 3 + [[2 * first + 1, 3 * first]]
    assert returns.tolist()[5:] == [[second + 1, 0]] * 2
    assert count.tolist() == [[0, 0]] + [[1, 0]] * 3 + [[1, 1]] + [[1, 0]] * 2
    # The observation that ends the trial is the first one of an episode that does not take place.
    final = info["final_observation"]
    assert final["observation"][4].tolist()[0] == 0 and final["episode_end"][4] == 1 and final["trial_start"][4] == 0


def test_a_number_of_steps_terminates_or_truncates():
    actions = [0, 1, 0, 0, 1, 0, 0]
    obs, _, _, terminated, truncated, info = play(Trial(World(), steps=4), actions)
    assert terminated.tolist() == [False] * 3 + [True] + [False] * 3 and not truncated.any()
    assert info["episode_attempt_count"].sum(1).tolist() == [0, 1, 1, 1, 1, 1, 1]

    env = Trial(World(), steps=4, truncate=True)
    obs, states, _, terminated, truncated, info = play(env, actions)
    assert truncated.tolist() == [False] * 3 + [True] + [False] * 3 and not terminated.any()
    assert not never_truncates(env)
    # Bootstrapping looks at what would have come next: the second episode, two steps old.
    assert info["final_observation"]["observation"][3].tolist() == [2, int(states.env_state.first[3])]
    assert obs["observation"][4, 0] == 0 and obs["trial_start"][4] == 1

    _, _, _, terminated, *_ = play(Trial(World(), episodes=2, steps=4), [1, 1, 0, 1, 0, 0, 0])
    assert terminated.tolist() == [False, True, False, False, False, True, False]


def test_attempts_beyond_those_recorded_are_not_mixed_in():
    *_, info = play(Trial(World(), steps=14), [1] * 14)
    assert info["episode_attempt_count"].shape == (14, 10) and info["episode_attempt_count"][-1].tolist() == [1] * 10
    assert len(set(info["episode_attempt_return"][-1].tolist())) == 1


@pytest.mark.parametrize("inner_reset", ["resample", "same"])
def test_tasks_stay_within_a_trial_and_episodes_start_as_asked(inner_reset):
    env = Trial(World(), episodes=3, inner_reset=inner_reset)
    obs, states, *_ = play(env, [1] * 90)
    tasks = np.asarray(states.task[:90]).reshape(30, 3)
    starts = np.asarray(obs["observation"][:90, 1]).reshape(30, 3)
    assert (tasks == tasks[:, :1]).all() and len(set(tasks[:, 0])) > 7
    assert (starts // 1000 == tasks).all()
    alike = (starts == starts[:, :1]).all(1)
    assert alike.all() if inner_reset == "same" else not alike.any()
    assert len(set(starts[:, 0])) > 20


def test_inputs_can_be_chosen():
    env = Trial(World(), episodes=2, inputs=["episode_end", "previous_reward"])
    assert set(env.observation_space(env.default_params).spaces) == {"observation", "previous_reward", "episode_end"}
    obs, _ = jax.eval_shape(env.reset, jax.random.key(0), env.default_params)
    assert set(obs) == {"observation", "previous_reward", "episode_end"}


def test_params_can_be_the_task():
    draw = lambda key, params: params.replace(length=jax.random.uniform(key, minval=0.2, maxval=1.0))  # noqa: E731
    env = Trial(TimeLimit(Tasks(PositionOnlyCartPole(), draw), 2), episodes=3)
    _, states, _, terminated, *_ = play(env, [0] * 12)
    lengths = np.asarray(states.task.length[:12]).reshape(2, 6)
    assert (lengths == lengths[:, :1]).all() and lengths[0, 0] != lengths[1, 0]
    assert np.flatnonzero(terminated).tolist() == [5, 11]
    plain = PositionOnlyCartPole()
    assert sample_task(plain, jax.random.key(0), plain.default_params) is plain.default_params


def test_statistics_of_attempts_are_those_of_the_rewards():
    env, params = make_env("meta/DarkKeyToDoor", raw=True, size=2, episode_length=6, steps=25)
    env = EpisodeStatistics(env)

    def run(key):
        _, state = env.reset(key, params)

        def step(state, key):
            key_action, key_step = jax.random.split(key)
            action = env.action_space(params).sample(key_action)
            _, state, reward, terminated, _, info = env.step(key_step, state, action, params)
            return state, (reward, terminated, info)

        return jax.lax.scan(step, state, jax.random.split(key, 150))[1]

    rewards, ends, info = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 4))
    completed = 0
    for i in range(4):
        attempts, attempt, total = [], 0.0, 0.0
        for t in range(150):
            attempt, total = attempt + rewards[i, t], total + rewards[i, t]
            if info["final_observation"]["episode_end"][i, t]:
                attempts.append(float(attempt))
                attempt = 0.0
            if ends[i, t]:
                assert info["episode_attempt_return"][i, t].tolist() == (attempts + [0] * 10)[:10]
                assert info["episode_attempt_count"][i, t].tolist() == ([1] * len(attempts) + [0] * 10)[:10]
                assert info["episode_return"][i, t] == total and (t + 1) % 25 == 0
                completed += len(attempts)
                attempts, attempt, total = [], 0.0, 0.0
    assert completed > 4 * 6 * 4  # more than episodes of 6 steps alone: some doors were opened


def test_ppo_sums_every_statistic_over_the_trials_that_ended():
    env = Flatten(Trial(World(), episodes=2))
    env = EpisodeStatistics(env)
    config = PPOConfig(num_envs=4, num_steps=12, num_minibatches=1, update_epochs=1)
    policy = make_policy(env.action_space())
    obs, _ = jax.eval_shape(env.reset, jax.random.key(0), env.default_params)
    make_agent = lambda key: Agent(obs, policy, lambda k: make_core("mlp", 8, 1, key=k), 8, key=key)  # noqa: E731
    learner = ppo(config, env, env.default_params, make_agent, 1)
    _, metrics = jax.jit(lambda key: learner.update(learner.init(key)))(jax.random.key(0))
    count = float(metrics["episode/count"])
    assert count > 4
    assert metrics["episode/attempt_count"].tolist() == [count, count]
    assert metrics["episode/attempt_return"].shape == (2,)
    assert float(metrics["episode/attempt_return"].sum()) == float(metrics["episode/return"]) > 0

    sums = EpisodeSums(ExperimentConfig(ppo=config, total_steps=480.0), 1)
    for update in range(1, 11):
        sums.add(update, {name: np.asarray(value)[None] for name, value in metrics.items()})
    row = sums.pop()[0]
    mean = np.asarray(metrics["episode/attempt_return"]) / count
    np.testing.assert_allclose([row["episode/attempt_1"], row["episode/attempt_2"]], mean, rtol=1e-6)
    np.testing.assert_allclose(row["episode/return"], mean.sum(), rtol=1e-6)
    np.testing.assert_allclose(sums.final_attempts(), mean[None], rtol=1e-6)
    assert "episode/attempt_1" not in sums.pop()[0]


def test_attempts_that_no_trial_completed_have_no_mean():
    sums = EpisodeSums(ExperimentConfig(), 1)
    arrays = {"return": [3.0], "length": [8], "count": [2], "attempt_return": [[3.0, 0.0]], "attempt_count": [[2, 0]]}
    sums.add(1, {f"episode/{name}": np.array(value) for name, value in arrays.items()})
    row = sums.pop()[0]
    assert (row["episode/attempt_1"], row["episode/attempt_2"], row["episode/return"]) == (1.5, None, 1.5)
    assert sums.final_attempts() == [[]]


def test_splits_are_a_quarter_and_the_rest():
    train, heldout, every = (split_tasks(80, split).tolist() for split in ("train", "heldout", "all"))
    assert (len(train), len(heldout)) == (60, 20) and sorted(train + heldout) == every == list(range(80))
    assert heldout == [0, 2, 5, 10, 13, 18, 23, 26, 31, 34, 39, 44, 47, 52, 57, 60, 65, 68, 73, 78], "for ever"
    with pytest.raises(ValueError, match="env_kwargs.split: need one of all, train, heldout, got 'test'"):
        split_tasks(80, "test")


@pytest.mark.parametrize("name", META)
def test_shapes_are_those_of_the_space_and_survive_a_step(name):
    env, params = make_env(name)
    assert never_truncates(env)
    obs, state = jax.eval_shape(env.reset, jax.random.key(0), params)
    action = jax.eval_shape(env.action_space(params).sample, jax.random.key(0))
    next_obs, next_state, reward, terminated, truncated, info = jax.eval_shape(
        env.step, jax.random.key(0), state, action, params
    )
    assert (obs.shape, obs.dtype) == (tuple(env.observation_space(params).shape), jnp.float32)
    assert jax.tree.all(
        jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), (obs, state), (next_obs, next_state))
    )
    assert (reward.dtype, terminated.dtype, truncated.dtype) == (jnp.float32, jnp.bool_, jnp.bool_)
    assert info["episode_attempt_return"].shape == info["episode_attempt_count"].shape


@pytest.mark.parametrize(
    "name,kwargs,message",
    [
        ("meta/DarkRoom", {"episodes": 0}, r"env_kwargs\.episodes: need an int of at least 1, got 0"),
        ("meta/DarkRoom", {"episodes": None}, r"env_kwargs\.episodes: need episodes or steps"),
        ("meta/DarkRoom", {"truncate": True}, r"env_kwargs\.truncate: need env_kwargs\.steps"),
        ("meta/DarkRoom", {"inner_reset": "never"}, r"env_kwargs\.inner_reset: need one of resample, same"),
        ("meta/DarkRoom", {"inputs": ["reward"]}, r"env_kwargs\.inputs: need a list of any of previous_action"),
        ("meta/DarkRoom", {"size": 4}, r"env_kwargs\.size: need an odd number"),
        ("meta/DarkRoom", {"split": "test"}, r"env_kwargs\.split"),
        ("meta/DarkRoom", {"sice": 4}, r"env_kwargs\.sice: .* has size, episode_length, .*episodes, steps"),
        ("meta/DarkKeyToDoor", {"size": 1}, r"env_kwargs\.size: need at least 2"),
        ("meta/BernoulliBandit", {"num_arms": 1}, r"env_kwargs\.num_arms: need at least 2, got 1"),
        ("meta/ProjectedCartPole", {"observation_size": 1}, r"env_kwargs\.observation_size: need at least 2"),
        ("meta/ProjectedCartPole", {"distribution": "cauchy"}, r"env_kwargs\.distribution: need one of orthogonal"),
    ],
)
def test_mistakes_are_named(name, kwargs, message):
    with pytest.raises(ValueError, match=message) as error:
        make_env(name, **kwargs)
    assert "\n" not in str(error.value)
