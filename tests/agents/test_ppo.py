"""PPO on probe environments: each fails for one reason."""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from rlformers.agents.agent import Agent
from rlformers.agents.policies import make_policy
from rlformers.agents.ppo import ppo
from rlformers.config.ppo import Numbers, PPOConfig
from rlformers.cores.registry import make_core
from rlformers.envs.environment import Environment
from rlformers.envs.spaces import Box, Discrete


class State(NamedTuple):
    time: jax.Array
    cue: jax.Array


# What step t = 0 .. n - 1 of an episode pays.
REWARDS = {
    "one": lambda t, n, cue, action: 1.0,
    "cue": lambda t, n, cue, action: cue,
    "second": lambda t, n, cue, action: t == 1,
    "action": lambda t, n, cue, action: action,
    "cued": lambda t, n, cue, action: (
        (t == n - 1) & (action == cue)
    ),  # pays the action that the cue named, in the last step
}


@struct.dataclass
class Params:
    """The choice of a probe; one program serves all probes."""

    reward: Any  # one of REWARDS, by its place
    n: Any = 1  # steps of an episode
    truncates: Any = False  # the end is a truncation
    shown: Any = 1  # the cue is seen at times below
    clock: Any = False  # the time left is seen

    @classmethod
    def of(cls, reward, **rest):
        return cls(list(REWARDS).index(reward), **rest)


class Probe(Environment):
    """Episodes of n steps that show (time left / n, cue)."""

    @property
    def default_params(self):
        return Params.of("one")

    def reset_env(self, key, params):
        state = State(jnp.zeros((), jnp.int32), jax.random.bernoulli(key).astype(jnp.int32))
        return self._see(state, params), state

    def _see(self, state, params):
        left = jnp.where(params.clock, (params.n - state.time) / params.n, 1.0)
        return jnp.stack([left, jnp.where(state.time < params.shown, 2.0 * state.cue - 1, 0.0)])

    def step_env(self, key, state, action, params):
        rewards = [
            lambda *arguments, reward=reward: jnp.asarray(reward(*arguments), jnp.float32)
            for reward in REWARDS.values()
        ]
        reward = jax.lax.switch(params.reward, rewards, state.time, params.n, state.cue, action)
        state = State(state.time + 1, state.cue)
        return self._see(state, params), state, reward, (state.time >= params.n) & ~jnp.asarray(params.truncates), {}

    def is_truncated(self, state, params):
        return (state.time >= params.n) & jnp.asarray(params.truncates)

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-1, 1, (2,))


def make_agent(core, width, options=()):
    policy = make_policy(Discrete(2))
    return lambda key: Agent(
        jnp.zeros(2), policy, lambda k: make_core(core, width, 1, key=k, **dict(options)), width, key=key
    )


@functools.cache
def program(core, options, most_updates, config):
    """Trains on any probe for up to `most_updates`."""
    config = PPOConfig(**{"num_envs": 8, "num_steps": 16, "num_minibatches": 2, "anneal_lr": False} | dict(config))

    @jax.jit
    def run(params, num_updates):
        learner = ppo(config, Probe(), params, make_agent(core, 16, options), most_updates)
        state = learner.init(jax.random.key(0))
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(learner.update, state)[1])

        def update(state, i):
            return jax.lax.cond(i < num_updates, learner.update, lambda state: (state, nothing), state)

        return jax.lax.scan(update, state, jnp.arange(most_updates))

    return run


def learn(params, core, num_updates, options=(), most_updates=300, **config):
    state, metrics = program(core, tuple(options), most_updates, tuple(config.items()))(params, num_updates)
    return state, {name: value[:num_updates] for name, value in metrics.items()}


@jax.jit
def step(agent, memory, obs, start):
    return agent.step(memory, obs, start)


def look(state, *obs):
    """Output after the last of some observations of one episode."""
    memory = state.agent.core.initial_state()
    for t, o in enumerate(obs):
        memory, output = step(state.agent, memory, np.array(o, np.float32), np.array(t == 0))
    return output


# Returns in the units of the environment, so that values can be predicted.
UNITS = {"gamma": 0.8, "lr": 3e-3, "normalize_rewards": False, "ent_coef": 0.0}
MEMORY = {"lr": 3e-3, "ent_coef": 0.01}


def test_one_state():
    """One step that pays 1: V = 1."""
    state, _ = learn(Params.of("one"), "mlp", 100, **UNITS)
    assert float(look(state, [1.0, 1.0]).value) == pytest.approx(1.0, rel=0.1)


def test_the_value_depends_on_the_observation():
    state, _ = learn(Params.of("cue"), "mlp", 100, **UNITS)
    assert float(look(state, [1.0, 1.0]).value) == pytest.approx(1.0, abs=0.1)
    assert float(look(state, [1.0, -1.0]).value) == pytest.approx(0.0, abs=0.1)


def test_a_later_reward_is_discounted():
    state, _ = learn(Params.of("second", n=2, clock=True, shown=0), "mlp", 300, **UNITS)
    assert float(look(state, [1.0, 0.0]).value) == pytest.approx(0.8, rel=0.1)
    assert float(look(state, [0.5, 0.0]).value) == pytest.approx(1.0, rel=0.1)


def test_the_better_action_is_found():
    state, _ = learn(Params.of("action"), "mlp", 60, **UNITS)
    assert float(jax.nn.softmax(look(state, [1.0, 1.0]).policy)[1]) > 0.9


def test_truncation_bootstraps():
    """Constant reward under a time limit that the agent cannot see: V = 1 / (1 - γ)."""
    state, _ = learn(Params.of("one", n=4, truncates=True, shown=0), "mlp", 150, **UNITS)
    assert float(look(state, [1.0, 0.0]).value) == pytest.approx(5.0, rel=0.1)


def test_termination_cuts():
    """Constant reward for n steps, then the end: V = (1 - γ^n) / (1 - γ)."""
    state, _ = learn(Params.of("one", n=4, shown=0, clock=True), "mlp", 200, **UNITS)
    for left in (4, 2, 1):
        expected = (1 - 0.8**left) / 0.2
        assert float(look(state, [left / 4, 0.0]).value) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    "core,options",
    [
        ("gru", ()),
        ("gtrxl", (("memory", 5),)),
        pytest.param("mlp", (), marks=pytest.mark.slow),
        pytest.param("lstm", (), marks=pytest.mark.slow),
        pytest.param("s5", (("state_size", 8),), marks=pytest.mark.slow),
    ],
)
def test_ratio_is_one_before_the_first_update(core, options):
    _, metrics = learn(Params.of("cued", n=7, truncates=True), core, 5, options, **MEMORY)
    assert float(metrics["ppo/first_ratio_error"].max()) < 1e-4


def test_chunks_burn_in_and_refresh_keep_the_ratio():
    probe = Params.of("cued", n=7, truncates=True)
    config = {"bptt_length": 4, "burn_in": 1, "refresh_memory": True, "normalize_observations": True}
    _, metrics = learn(probe, "gru", 5, normalize_rewards=True, **config)
    assert float(metrics["ppo/first_ratio_error"].max()) < 1e-4
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(metrics))


@pytest.mark.parametrize(
    "core,config,low,high",
    [("gru", MEMORY, 0.9, 1.0), ("mlp", UNITS, 0.0, 0.7)],  # mlp has a program with UNITS already
    ids=["gru", "mlp"],
)
def test_one_step_of_memory(core, config, low, high):
    state, _ = learn(Params.of("cued", n=2), core, 60, **config)
    right = [jax.nn.softmax(look(state, [1.0, 2.0 * cue - 1], [1.0, 0.0]).policy)[cue] for cue in (0, 1)]
    assert low <= float(sum(right)) / 2 <= high


@pytest.mark.slow
def test_a_kl_limit_skips_the_rest_of_the_iteration():
    config = {"lr": 0.05, "update_epochs": 8}
    _, free = learn(Params.of("cued", n=2), "gru", 10, **config)
    _, limited = learn(Params.of("cued", n=2), "gru", 10, target_kl=1e-3, **config)
    assert float(limited["ppo/approx_kl"].mean()) < float(free["ppo/approx_kl"].mean())


def test_environments_start_apart():
    state = jax.jit(ppo(PPOConfig(), Probe(), Params.of("cue"), make_agent("mlp", 8), 1).init)(jax.random.key(0))
    assert 0.2 < state.env_state.cue.mean() < 0.8  # a coin for each of 64


class Far(Probe):
    """The same with a large cue."""

    def __init__(self, scale):
        self.scale = scale

    def _see(self, state, params):
        return jnp.array([1.0, self.scale]) * super()._see(state, params)


def test_observations_reach_the_agent_as_they_are():
    """Normalised ones would be clipped at 10."""
    config = PPOConfig(num_envs=2, num_steps=4, num_minibatches=1, update_epochs=1)
    losses = []
    for scale in (20.0, 200.0):
        learner = ppo(config, Far(scale), Params.of("one", n=2), make_agent("mlp", 8), 1)
        losses.append(float(jax.jit(learner.update)(learner.init(jax.random.key(0)))[1]["ppo/value_loss"]))
    assert abs(losses[1] / losses[0] - 1) > 1e-4


def test_other_numbers_need_no_other_program():
    """Nor do agents that are built alike, because their static fields are equal."""
    config = PPOConfig(num_envs=4, num_steps=8, num_minibatches=2, anneal_lr=False)

    def learner(numbers=None):
        return ppo(config, Probe(), Params.of("cued", n=2), make_agent("gru", 8), 3, numbers=numbers)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def update(state, numbers):
        return learner(numbers).update(state)

    init = jax.jit(learner().init)
    for lr in (0.0, 1e-2):
        before = init(jax.random.key(0))
        after, metrics = update(before, Numbers.of(config, 3)._replace(lr=lr))
        moved = jax.tree.map(lambda x, y: bool((x != y).any()), before.agent, after.agent)
        assert float(metrics["ppo/lr"]) == pytest.approx(lr) and any(jax.tree.leaves(moved)) == (lr > 0)


@pytest.mark.slow  # tests/experiment/test_vmapped_sweep.py has whole runs of it
def test_hyper_parameters_can_be_vmapped():
    """A sweep over numbers in one program gives every value the numbers of its own run."""
    config = PPOConfig(num_envs=4, num_steps=8, num_minibatches=2)

    def train(lr, ent_coef):
        numbers = Numbers.of(config, 3)._replace(lr=lr, ent_coef=ent_coef)
        learner = ppo(config, Probe(), Params.of("cued", n=2), make_agent("gru", 8), 3, numbers=numbers, vmapped=True)
        state = learner.init(jax.random.key(0))
        return jax.lax.scan(lambda s, _: learner.update(s), state, None, 3)[0].agent

    lrs, coefs = jnp.array([1e-3, 1e-2]), jnp.array([0.0, 0.1])
    together = jax.jit(jax.vmap(train))(lrs, coefs)
    alone = jax.jit(train)(lrs[1], coefs[1])
    for x, y in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(x[1], y, atol=1e-5)
