"""PPO on probe environments: each fails for one reason."""

import copy
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.agent import Agent
from rlformers.agents.policies import make_policy
from rlformers.agents.ppo import _sequences, ppo
from rlformers.config import PPOConfig
from rlformers.cores.registry import make_core
from rlformers.envs.environment import Environment, EnvParams
from rlformers.envs.spaces import Box, Discrete


class State(NamedTuple):
    time: jax.Array
    cue: jax.Array


class Probe(Environment):
    """Episodes of n steps that show (time left / n if `clock`, cue), the cue at times below `shown`.

    `reward(t, n, cue, action)` is paid at step t = 0 .. n - 1.
    """

    def __init__(self, reward, n=1, truncates=False, shown=1, clock=False):
        self.reward, self.n, self.never_truncates, self.shown, self.clock = reward, n, not truncates, shown, clock

    @property
    def default_params(self):
        return EnvParams(max_steps_in_episode=self.n)

    def reset_env(self, key, params):
        state = State(jnp.zeros((), jnp.int32), jax.random.bernoulli(key).astype(jnp.int32))
        return self._see(state), state

    def _see(self, state):
        left = (self.n - state.time) / self.n if self.clock else 1.0
        return jnp.stack([left * jnp.ones(()), jnp.where(state.time < self.shown, 2.0 * state.cue - 1, 0.0)])

    def step_env(self, key, state, action, params):
        reward = jnp.asarray(self.reward(state.time, self.n, state.cue, action), jnp.float32)
        state = State(state.time + 1, state.cue)
        return self._see(state), state, reward, (state.time >= self.n) & self.never_truncates, {}

    def is_truncated(self, state, params):
        return (state.time >= self.n) & ~jnp.asarray(self.never_truncates)

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-1, 1, (2,))


def one(t, n, cue, action):
    return 1.0


def cued(t, n, cue, action):
    """1 in the last step for the action that the cue named."""
    return (t == n - 1) & (action == cue)


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


def look(state, *obs):
    """Output after the last of some observations of one episode."""
    memory, start = state.agent.core.initial_state(), jnp.array(True)
    for o in obs:
        memory, output = state.agent.step(memory, jnp.array(o), start)
        start = jnp.array(False)
    return output


# Returns in the units of the environment, so that values can be predicted.
UNITS = {"gamma": 0.8, "lr": 3e-3, "normalize_rewards": False}


def test_one_state():
    """One step that pays 1: V = 1."""
    state, _ = learn(Probe(one), "mlp", 100, **UNITS)
    assert float(look(state, [1.0, 1.0]).value) == pytest.approx(1.0, rel=0.1)


def test_the_value_depends_on_the_observation():
    state, _ = learn(Probe(lambda t, n, cue, action: cue), "mlp", 100, **UNITS)
    assert float(look(state, [1.0, 1.0]).value) == pytest.approx(1.0, abs=0.1)
    assert float(look(state, [1.0, -1.0]).value) == pytest.approx(0.0, abs=0.1)


def test_a_later_reward_is_discounted():
    state, _ = learn(Probe(lambda t, n, cue, action: t == 1, n=2, clock=True, shown=0), "mlp", 300, **UNITS)
    assert float(look(state, [1.0, 0.0]).value) == pytest.approx(0.8, rel=0.1)
    assert float(look(state, [0.5, 0.0]).value) == pytest.approx(1.0, rel=0.1)


def test_the_better_action_is_found():
    state, _ = learn(Probe(lambda t, n, cue, action: action), "mlp", 60, ent_coef=0.0)
    assert float(jax.nn.softmax(look(state, [1.0, 1.0]).policy)[1]) > 0.9


def test_truncation_bootstraps():
    """Constant reward under a time limit that the agent cannot see: V = 1 / (1 - γ)."""
    state, _ = learn(Probe(one, n=4, truncates=True, shown=0), "mlp", 150, **UNITS)
    assert float(look(state, [1.0, 0.0]).value) == pytest.approx(5.0, rel=0.1)


def test_termination_cuts():
    """Constant reward for n steps, then the end: V = (1 - γ^n) / (1 - γ)."""
    state, _ = learn(Probe(one, n=4, shown=0, clock=True), "mlp", 200, **UNITS)
    for left in (4, 2, 1):
        expected = (1 - 0.8**left) / 0.2
        assert float(look(state, [left / 4, 0.0]).value) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    "core,options", [("mlp", {}), ("gru", {}), ("lstm", {}), ("s5", {"state_size": 8}), ("gtrxl", {"memory": 5})]
)
def test_ratio_is_one_before_the_first_update(core, options):
    _, metrics = learn(Probe(cued, n=7, truncates=True), core, 5, options)
    assert float(metrics["ppo/first_ratio_error"].max()) < 1e-4


def test_chunks_burn_in_and_refresh_keep_the_ratio():
    probe = Probe(cued, n=7, truncates=True)
    config = {"bptt_length": 4, "burn_in": 1, "refresh_memory": True, "normalize_observations": True}
    _, metrics = learn(probe, "gru", 5, normalize_rewards=True, **config)
    assert float(metrics["ppo/first_ratio_error"].max()) < 1e-4
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(metrics))


@pytest.mark.parametrize("core,low,high", [("gru", 0.9, 1.0), ("mlp", 0.0, 0.7)])
def test_one_step_of_memory(core, low, high):
    state, _ = learn(Probe(cued, n=2), core, 60, lr=3e-3, ent_coef=0.01)
    right = [jax.nn.softmax(look(state, [1.0, 2.0 * cue - 1], [1.0, 0.0]).policy)[cue] for cue in (0, 1)]
    assert low <= float(sum(right)) / 2 <= high


def test_sequences_are_contiguous_pieces_of_time():
    T, B, K = 6, 2, 3
    x = jnp.arange(T)[:, None] * 10 + jnp.arange(B)  # x[t, b] = 10 t + b
    pieces = _sequences(x, K)
    assert pieces.shape == (T // K, K * B)
    np.testing.assert_array_equal(pieces[:, 2 * B + 1], [41, 51])  # the third piece of environment 1


def test_a_kl_limit_skips_the_rest_of_the_iteration():
    config = {"lr": 0.05, "update_epochs": 8}
    _, free = learn(Probe(cued, n=2), "gru", 10, **config)
    _, limited = learn(Probe(cued, n=2), "gru", 10, target_kl=1e-3, **config)
    assert float(limited["ppo/approx_kl"].mean()) < float(free["ppo/approx_kl"].mean())


def test_hyper_parameters_can_be_vmapped():
    """A sweep over numbers in one program gives every value the numbers of its own run."""
    env = Probe(cued, n=2)
    config = PPOConfig(num_envs=4, num_steps=8, num_minibatches=2)
    policy = make_policy(env.action_space())

    def make_agent(key):
        return Agent(jnp.zeros(2), policy, lambda k: make_core("gru", 8, 1, key=k), 8, key=key)

    def train(lr, ent_coef):
        learner = ppo(replace_unchecked(config, lr=lr, ent_coef=ent_coef), env, env.default_params, make_agent, 3)
        state = learner.init(jax.random.key(0))
        return jax.lax.scan(lambda s, _: learner.update(s), state, None, 3)[0].agent

    lrs, coefs = jnp.array([1e-3, 1e-2]), jnp.array([0.0, 0.1])
    together = jax.jit(jax.vmap(train))(lrs, coefs)
    alone = jax.jit(train)(lrs[1], coefs[1])
    for x, y in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(x[1], y, atol=1e-5)


def replace_unchecked(config, **changes):
    """Traced numbers cannot be compared with their limits, which is what `dataclasses.replace` would do."""
    new = copy.copy(config)
    for name, value in changes.items():
        object.__setattr__(new, name, value)
    return new
