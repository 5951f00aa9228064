"""Whole episodes are counted and shown correctly."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.agent import Agent
from rlformers.agents.normalizers import Moments
from rlformers.agents.policies import make_policy
from rlformers.agents.ppo import Learner
from rlformers.config import ExperimentConfig
from rlformers.cores.registry import make_core
from rlformers.envs.environment import Environment, EnvParams
from rlformers.envs.spaces import Box, Discrete
from rlformers.envs.wrappers import EpisodeStatistics
from rlformers.experiment.evaluation import all_seeds
from rlformers.experiment.program.build import Built


class State(NamedTuple):
    time: jax.Array
    length: jax.Array


class Draws(Environment):
    """Episodes of 1 to 9 steps that show 3 and pay the action."""

    @property
    def default_params(self):
        return EnvParams(max_steps_in_episode=100)

    def reset_env(self, key, params):
        return jnp.full(1, 3.0), State(jnp.zeros((), jnp.int32), jax.random.randint(key, (), 1, 10))

    def step_env(self, key, state, action, params):
        state = state._replace(time=state.time + 1)
        return jnp.full(1, 3.0), state, jnp.asarray(action, jnp.float32), state.time >= state.length, {}

    def action_space(self, params=None):
        return Discrete(5)

    def observation_space(self, params):
        return Box(-jnp.inf, jnp.inf, (1,), jnp.float32)


def player(episodes, num_envs):
    env = EpisodeStatistics(Draws())
    nothing = Learner(init=lambda key: None, update=lambda state: None)
    built = Built(env, env.default_params, lambda key: None, nothing, lambda numbers: nothing)
    return all_seeds.Player(ExperimentConfig(), built, episodes, num_envs, greedy=True)


@pytest.fixture(scope="module")
def agents():
    """Of ten seeds."""

    def make(key):
        policy = make_policy(Discrete(5), "auto")
        return Agent(jnp.zeros(1), policy, lambda key: make_core("mlp", 8, key=key), 8, key=key)

    return jax.vmap(make)(jax.random.split(jax.random.key(0), 10))


def test_agents_see_observations_as_in_training(agents):
    """3 is the mean and normalises to 0; without these statistics it is another observation."""
    ones = jnp.ones((10, 1))
    keys = jax.random.split(jax.random.key(1), 10)
    play = player(20, 20)

    def actions(moments):
        found = play(agents, moments, keys)
        return (found["return"] / found["length"])[:, 0]

    same = Moments(num=jnp.ones(10), mean=0 * ones, m2=ones)
    far = Moments(num=jnp.ones(10), mean=3 * ones, m2=ones)

    def greedy(x):
        start = jnp.ones((), bool)
        outputs = jax.vmap(lambda agent: agent.step(agent.core.initial_state(), jnp.full(1, x), start)[1].policy)(
            agents
        )
        return np.argmax(outputs, -1)

    np.testing.assert_array_equal(actions(far), greedy(0.0))
    np.testing.assert_array_equal(actions(same), greedy(3.0))
    assert (greedy(0.0) != greedy(3.0)).any()


def test_every_copy_plays_its_episodes_to_the_end(agents, monkeypatch):
    """For any number of steps per call, and any distance between the copies."""
    monkeypatch.setattr(all_seeds, "_CHUNK", 1)
    keys = jax.random.split(jax.random.key(1), 10)
    lengths = player(7, 3)(agents, None, keys)["length"]
    assert lengths.shape == (10, 7) and lengths.min() >= 1
    monkeypatch.setattr(all_seeds, "_CHUNK", 1000)
    np.testing.assert_array_equal(lengths, player(7, 3)(agents, None, keys)["length"])
