"""PPO on probe environments: each fails for one reason."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.agent import Agent
from rlformers.agents.policies import make_policy
from rlformers.agents.ppo import ppo
from rlformers.config import PPOConfig
from rlformers.cores.registry import make_core
from rlformers.envs.environment import Environment, EnvParams
from rlformers.envs.spaces import Box, Discrete


class State(NamedTuple):
    time: jax.Array
    cue: jax.Array


class Probe(Environment):
    """Episodes of n steps; reward 1 per step, or for repeating in the second step what the first one showed."""

    def __init__(self, n, truncates, remember=False):
        self.n, self.never_truncates, self.remember = n, not truncates, remember

    @property
    def default_params(self):
        return EnvParams(max_steps_in_episode=self.n)

    def reset_env(self, key, params):
        state = State(jnp.zeros((), jnp.int32), jax.random.bernoulli(key).astype(jnp.int32))
        return self._see(state), state

    def _see(self, state):
        cue = jnp.where(state.time == 0, 2.0 * state.cue - 1, 0.0) if self.remember else 0.0
        return jnp.stack([jnp.ones(()), cue * jnp.ones(())])

    def step_env(self, key, state, action, params):
        reward = jnp.ones(())
        if self.remember:
            reward = ((state.time == self.n - 1) & (action == state.cue)).astype(jnp.float32)
        state = State(state.time + 1, state.cue)
        return self._see(state), state, reward, (state.time >= self.n) & self.never_truncates, {}

    def is_truncated(self, state, params):
        return (state.time >= self.n) & ~jnp.asarray(self.never_truncates)

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-1, 1, (2,))


def learn(env, core, num_updates, options=None, **config):
    config = PPOConfig(**{"num_envs": 8, "num_steps": 16, "num_minibatches": 2, "anneal_lr": False} | config)
    policy = make_policy(env.action_space())

    def make_agent(key):
        build = lambda k: make_core(core, 16, 1, key=k, **(options or {}))  # noqa: E731
        return Agent(jnp.zeros(2), policy, build, 16, key=key)

    learner = ppo(config, env, env.default_params, make_agent, num_updates)
    state = jax.jit(learner.init)(jax.random.key(0))
    state, metrics = jax.jit(lambda s: jax.lax.scan(lambda s, _: learner.update(s), s, None, num_updates))(state)
    return state, metrics


def value(state):
    memory = state.agent.core.initial_state()
    return float(state.agent.step(memory, jnp.array([1.0, 0.0]), jnp.array(True))[1].value)


def test_truncation_bootstraps():
    """Constant reward under a time limit that the agent cannot see: V = 1 / (1 - γ)."""
    state, _ = learn(Probe(4, truncates=True), "mlp", 150, gamma=0.8, lr=3e-3)
    assert value(state) == pytest.approx(5.0, rel=0.1)


def test_termination_cuts():
    """Constant reward for one step, then the end: V = 1."""
    state, _ = learn(Probe(1, truncates=False), "mlp", 100, gamma=0.8, lr=3e-3)
    assert value(state) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(
    "core,options", [("mlp", {}), ("gru", {}), ("lstm", {}), ("s5", {"state_size": 8}), ("gtrxl", {"memory": 5})]
)
def test_ratio_is_one_before_the_first_update(core, options):
    _, metrics = learn(Probe(7, truncates=True, remember=True), core, 5, options)
    assert float(metrics["ppo/first_ratio_error"].max()) < 1e-4


def test_chunks_burn_in_and_refresh_keep_the_ratio():
    probe = Probe(7, truncates=True, remember=True)
    config = {"bptt_length": 4, "burn_in": 1, "refresh_memory": True, "normalize_observations": True}
    _, metrics = learn(probe, "gru", 5, normalize_rewards=True, **config)
    assert float(metrics["ppo/first_ratio_error"].max()) < 1e-4
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(metrics))


@pytest.mark.parametrize("core,low,high", [("gru", 0.9, 1.0), ("mlp", 0.0, 0.7)])
def test_one_step_of_memory(core, low, high):
    state, metrics = learn(Probe(2, truncates=False, remember=True), core, 60, lr=3e-3, ent_coef=0.01)
    memory = jax.vmap(lambda _: state.agent.core.initial_state())(jnp.arange(2))
    cues = jnp.array([[1.0, -1.0], [1.0, 1.0]])
    memory, _ = jax.vmap(state.agent.step)(memory, cues, jnp.ones(2, bool))
    blind = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    _, output = jax.vmap(state.agent.step)(memory, blind, jnp.zeros(2, bool))
    probabilities = jax.nn.softmax(output.policy)
    right = float((probabilities[0, 0] + probabilities[1, 1]) / 2)
    assert low <= right <= high
