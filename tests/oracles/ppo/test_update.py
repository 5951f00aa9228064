"""Two whole updates of ours against the oracle's, every option on and off; `python -m ppo.test_update` prints all."""

import functools
import itertools
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
import optax
import pytest

from rlformers.agents.agent import Agent
from rlformers.agents.policies import make_policy
from rlformers.agents.ppo import ppo
from rlformers.cores.registry import make_core
from rlformers.envs.spaces import Discrete
from rlformers.ppo_config import Numbers, PPOConfig

from .networks import empty
from .probe import ACTIONS, Probe
from .rollout import World
from .update import State, update

WIDTH, NUM_UPDATES = 4, 4
CORES = {"gru": {}, "gtrxl": {"memory": 3, "heads": 2}}
# Everything that can be off is off. The ratio is clipped after the first steps.
PLAIN = PPOConfig(
    num_envs=4,
    num_steps=9,
    num_minibatches=2,
    update_epochs=2,
    lr=3e-3,
    gamma=0.9,
    gae_lambda=0.8,
    clip_eps=0.01,
    normalize_rewards=False,
    normalize_advantages=False,
    anneal_lr=False,
    anneal_ent=False,
    max_grad_norm=100.0,
)
CHUNKS = {"bptt_length": 3}
OPTIONS = {
    "clip_value": {"clip_value": True},
    "bptt_length": CHUNKS,
    "burn_in, one sequence": {"burn_in": 2},
    "burn_in": CHUNKS | {"burn_in": 2},
    "refresh_memory": CHUNKS | {"refresh_memory": True},
    "target_kl": {"target_kl": 1e-5},
    "normalize_rewards": {"normalize_rewards": True, "reward_scale": 3.0},
    "normalize_observations": {"normalize_observations": True},
    "normalize_advantages": {"normalize_advantages": True},
    "anneal_lr": {"anneal_lr": True},
    "anneal_ent": {"anneal_ent": True},
    "warmup": {"warmup": 0.6},
    "weight_decay": {"weight_decay": 0.1},
    "clip_eps_high": {"clip_eps_high": 0.03},
    "adam": {"adam_b1": 0.8, "adam_b2": 0.99, "adam_eps": 1e-4},
    "max_grad_norm": {"max_grad_norm": 0.5},
    "masks": {"masked": True},
}
ALL = functools.reduce(dict.__or__, OPTIONS.values())
CASES = OPTIONS | {
    "none": {},
    "burn_in, refresh_memory": OPTIONS["burn_in"] | OPTIONS["refresh_memory"],
    "all but target_kl": ALL | {"target_kl": 0.0},
    "all but refresh_memory": ALL | {"refresh_memory": False},
    "all but target_kl, refresh_memory": ALL | {"target_kl": 0.0, "refresh_memory": False},
}
FAST = [
    ("gru", "none"),
    ("gru", "all but refresh_memory"),  # one program with the next
    ("gru", "all but target_kl, refresh_memory"),
    ("gtrxl", "all but target_kl"),
]


def static(config):
    """The configuration of which programs are compiled: numbers are arguments."""
    return replace(PLAIN, **{k: v for k, v in vars(config).items() if k not in Numbers._fields})


def make_agent(core, env):
    obs = jax.eval_shape(env.reset, jax.random.key(0), None)[0]
    make = functools.partial(make_core, core, WIDTH, 1, **CORES[core])
    return lambda key: Agent(obs, make_policy(Discrete(ACTIONS)), lambda k: make(key=k), WIDTH, key=key)


@functools.cache
def initial(core, masked):
    """Before the first update, at parameters none of which is 0 or 1."""
    env = Probe(PLAIN.num_steps, masked)
    state = jax.jit(ppo(PLAIN, env, None, make_agent(core, env), NUM_UPDATES).init)(jax.random.key(3))
    noise, rng = lambda x: x + 0.3 * rng.normal(size=x.shape).astype(x.dtype), np.random.default_rng(0)
    return state._replace(agent=jax.tree.map(noise, state.agent))


@functools.cache
def program(core, masked, config):
    env = Probe(config.num_steps, masked)
    return jax.jit(
        lambda state, numbers: ppo(config, env, None, make_agent(core, env), NUM_UPDATES, numbers=numbers).update(state)
    )


def orders(key, config):
    """Of the sequences of every minibatch of every epoch."""
    _, key_learn = jax.random.split(jax.random.split(key)[0])
    N = config.num_envs * config.num_steps // config.sequence_length
    permutations = [
        jax.random.permutation(jax.random.split(k)[0], N) for k in jax.random.split(key_learn, config.update_epochs)
    ]
    return [np.asarray(p).reshape(config.num_minibatches, -1) for p in permutations]


def world(state):
    """What environments did in the iteration before this state."""
    log, last = jax.tree.map(np.asarray, (state.env_state.log, state.obs))
    T, B = PLAIN.num_steps, PLAIN.num_envs

    def at(tree, *index):
        return jax.tree.map(lambda x: x[index], tree)

    obs, final_obs = ([[at(tree, b, t) for b in range(B)] for t in range(T)] for tree in (log.obs, log.final_obs))
    flags = log.action.T, log.reward.T.astype(np.float64), log.terminated.T, log.truncated.T
    return World(obs, *flags, final_obs, [at(last, b) for b in range(B)])


def flat(tree):
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(tree)])


class Comparison(NamedTuple):
    """Of two updates."""

    differences: dict  # the largest of every quantity, relative to what is larger than 1
    metrics: list  # the oracle's, of both updates
    steps: list  # of Adam, in all, after each
    worlds: list


@functools.cache
def compared(core, case):
    options = {"masked": False} | CASES[case]
    masked = options.pop("masked")
    config = replace(PLAIN, **options)
    ours = initial(core, masked)
    leaves, structure = jax.tree.flatten(ours.agent)
    ends = np.cumsum([x.size for x in leaves])

    def build(params):
        parts = [params[end - x.size : end].reshape(x.shape) for x, end in zip(leaves, ends, strict=True)]
        return jax.tree.unflatten(structure, parts)

    decays = np.concatenate([np.full(x.size, x.ndim >= 2) for x in leaves])
    params, B = flat(ours.agent), PLAIN.num_envs
    theirs = State(params, 0 * params, 0 * params, 0, [empty(ours.agent)] * B, [True] * B, [], [], [0.0] * B, 0)
    result = Comparison({}, [], [], [])

    def compare(name, x, y):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        assert x.shape == y.shape
        difference = np.max(np.abs(x - y) / np.maximum(1, np.abs(y)))
        result.differences[name] = np.maximum(result.differences.get(name, 0.0), difference)  # NaN, if there is one

    for _ in range(2):
        order = orders(ours.key, config)
        ours, metrics = program(core, masked, static(config))(ours, Numbers.of(config, NUM_UPDATES))
        result.worlds.append(world(ours))
        theirs, expected = update(theirs, result.worlds[-1], order, build, decays, config, NUM_UPDATES)
        compare("parameters", flat(ours.agent), theirs.params)
        compare("Adam m", flat(optax.tree.get(ours.opt_state, "mu")), theirs.m)
        compare("Adam v", flat(optax.tree.get(ours.opt_state, "nu")), theirs.v)
        compare("Adam steps", optax.tree.get(ours.opt_state, "count"), theirs.steps)
        moments, reward, discounted = ours.normalizers
        compare("reward moments", flat(reward), joined(theirs.returns, 1))
        compare("discounted returns", discounted, theirs.discounted)
        compare("observation moments", flat(moments), joined(theirs.observations, 3))
        assert {f"ppo/{name}" for name in expected} == {name for name in metrics if name.startswith("ppo/")}
        for name, value in expected.items():
            compare(name, metrics[f"ppo/{name}"], value)
        result.metrics.append(expected)
        result.steps.append(theirs.steps)
    return result


def joined(samples, size):
    """Their number, mean, and sum of squared deviations."""
    samples = np.reshape(samples, (-1, size))
    mean = samples.mean(0) if len(samples) else np.zeros(size)
    return np.hstack([len(samples), mean, np.square(samples - mean).sum(0)])


@pytest.mark.parametrize(
    ("core", "case"),
    [
        pytest.param(core, case, marks=[] if (core, case) in FAST else pytest.mark.slow)
        for case in CASES
        for core in CORES
    ],
)
def test_two_updates(core, case):
    assert {name: x for name, x in compared(core, case).differences.items() if not x < 1e-5} == {}


def test_what_happens_is_what_is_tested():
    """The cases above would prove little if nothing ended, nothing was clipped, and nothing stopped."""
    plain, limited = compared("gru", "none"), compared("gru", "all but refresh_memory")
    first = plain.worlds[0]
    early = slice(PLAIN.num_steps - 2)  # the agent sees what comes after it
    for ended in (first.terminated & ~first.truncated, first.truncated & ~first.terminated):
        assert ended[early].any()
    last = first.terminated[-1] | first.truncated[-1]
    assert not last.all()
    assert all(0.1 < metrics["clip_fraction"] < 0.9 for metrics in plain.metrics)
    assert 0 < limited.steps[1] - limited.steps[0] < 4
    assert all(metrics["grad_norm"] > OPTIONS["max_grad_norm"]["max_grad_norm"] for metrics in limited.metrics)


def table():
    """Rows of (core, case), columns of quantities."""
    print("core  | options on | parameters | Adam | moments | metrics")
    for core, case in itertools.product(CORES, CASES):
        parts = {"parameters": [], "Adam": [], "moments": [], "metrics": []}
        for name, x in compared(core, case).differences.items():
            kinds = [kind for kind in parts if kind in name] or ["moments" if "returns" in name else "metrics"]
            parts[kinds[0]].append(x)
        print(f"{core:5} | {case}", *(f"{max(x):.1e}" for x in parts.values()), sep=" | ", flush=True)


if __name__ == "__main__":
    table()
