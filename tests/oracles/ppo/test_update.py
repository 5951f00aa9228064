"""Two whole updates of ours against the oracle's, every option on and off; `python -m ppo.test_update` prints all."""

import functools
import itertools
from typing import NamedTuple

import jax
import numpy as np
import optax
import pytest

from rlformers.agents import acting
from rlformers.agents.agent import Agent
from rlformers.agents.gae import gae
from rlformers.agents.policies import make_policy
from rlformers.agents.ppo import ppo
from rlformers.agents.sequences import Cut
from rlformers.config.ppo import Numbers
from rlformers.cores.registry import make_core
from rlformers.envs.spaces import Discrete

from .cases import CASES, CORES, FAST, OPTIONS, PLAIN, split, static
from .networks import empty
from .probe import ACTIONS, Probe
from .rollout import World, act, estimate
from .update import State, update

WIDTH, NUM_UPDATES = 6, 4
ONE_WORKER = {core: pytest.mark.xdist_group(f"oracle of PPO, {core}") for core in CORES}  # programs are shared


def make_agent(core, env):
    obs = jax.eval_shape(env.reset, jax.random.key(0), None)[0]
    make = functools.partial(make_core, core, WIDTH, 1, **CORES[core])
    return lambda key: Agent(obs, make_policy(Discrete(ACTIONS)), lambda k: make(key=k), WIDTH, key=key)


@functools.cache
def initial(core, masked):
    """Before the first update, at parameters none of which is 0 or 1; with this key the world does all that it can."""
    env, rng = Probe(PLAIN.num_steps, masked), np.random.default_rng(5)
    state = jax.jit(ppo(PLAIN, env, None, make_agent(core, env), NUM_UPDATES).init)(jax.random.key(7))

    def away(x):
        """Biases upwards: where all ReLUs are off, a LayerNorm makes its input's rounding error 300 times larger."""
        return x + (0.3 * rng.normal(size=x.shape) + 0.5 * (x.ndim == 1)).astype(x.dtype)

    return state._replace(agent=jax.tree.map(away, state.agent))


@functools.cache
def program(core, masked, config):
    env = Probe(config.num_steps, masked)
    return jax.jit(
        lambda state, numbers: ppo(config, env, None, make_agent(core, env), NUM_UPDATES, numbers=numbers).update(state)
    )


def orders(key, config):
    """Of the sequences of every minibatch of every epoch, and the key of the next iteration."""
    key, key_learn = jax.random.split(jax.random.split(key)[0])
    N = config.num_envs * config.num_steps // config.sequence_length
    keys = [jax.random.split(key_epoch)[0] for key_epoch in jax.random.split(key_learn, config.update_epochs)]
    permutations = [np.asarray(jax.random.permutation(key_permutation, N)) for key_permutation in keys]
    return [permutation.reshape(config.num_minibatches, -1) for permutation in permutations], key


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


def oracle(agent):
    """The agent of a vector of parameters, the oracle's state before the first update, and which of them decay."""
    leaves, structure = jax.tree.flatten(agent)
    ends = np.cumsum([x.size for x in leaves])

    def build(params):
        parts = [params[end - x.size : end].reshape(x.shape) for x, end in zip(leaves, ends, strict=True)]
        return jax.tree.unflatten(structure, parts)

    params, B = flat(agent), PLAIN.num_envs
    state = State(params, 0 * params, 0 * params, 0, [empty(agent)] * B, [True] * B, [], [], [0.0] * B, 0)
    return build, state, np.concatenate([np.full(x.size, x.ndim >= 2) for x in leaves])


@functools.cache
def compared(core, case):
    masked, config = split(case)
    ours = initial(core, masked)
    build, theirs, decays = oracle(ours.agent)
    key = ours.key
    result = Comparison({}, [], [], [])
    for _ in range(2):
        order, key = orders(key, config)
        ours, metrics = program(core, masked, static(config))(ours, Numbers.of(config, NUM_UPDATES))
        result.worlds.append(world(ours))
        theirs, expected = update(theirs, result.worlds[-1], order, build, decays, config, NUM_UPDATES)
        moments, reward, discounted = ours.normalizers
        pairs = {
            "parameters": (flat(ours.agent), theirs.params),
            "Adam m": (flat(optax.tree.get(ours.opt_state, "mu")), theirs.m),
            "Adam v": (flat(optax.tree.get(ours.opt_state, "nu")), theirs.v),
            "Adam steps": (optax.tree.get(ours.opt_state, "count"), theirs.steps),
            "reward moments": (flat(reward), joined(theirs.returns, 1)),
            "discounted returns": (discounted, theirs.discounted),
            "observation moments": (flat(moments), joined(theirs.observations, 3)),
        }
        assert {f"ppo/{name}" for name in expected} == {name for name in metrics if name.startswith("ppo/")}
        pairs |= {name: (metrics[f"ppo/{name}"], value) for name, value in expected.items()}
        for name, pair in pairs.items():
            worst = result.differences.get(name, 0.0)
            result.differences[name] = np.maximum(worst, difference(*pair))  # NaN, if there is one
        result.metrics.append(expected)
        result.steps.append(theirs.steps)
    return result


def difference(x, y):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    assert x.shape == y.shape
    return np.max(np.abs(x - y) / np.maximum(1, np.abs(y)))


def joined(samples, size):
    """Their number, mean, and sum of squared deviations."""
    samples = np.reshape(samples, (-1, size))
    mean = samples.mean(0) if len(samples) else np.zeros(size)
    return np.hstack([len(samples), mean, np.square(samples - mean).sum(0)])


@pytest.mark.parametrize(
    ("core", "case"),
    [
        pytest.param(core, case, marks=ONE_WORKER[core] if (core, case) in FAST else pytest.mark.slow)
        for case in CASES
        for core in CORES
    ],
)
def test_two_updates(core, case):
    assert {name: x for name, x in compared(core, case).differences.items() if not x < 1e-5} == {}


@pytest.mark.slow  # what it gives is part of the above
@pytest.mark.parametrize("core", CORES)
def test_what_a_rollout_is_worth(core):
    """Values, those of final observations and advantages, and the memories at the starts of sequences."""
    masked, config = split("burn_in")
    before = initial(core, masked)
    cut = Cut(config.num_steps, config.sequence_length, config.burn_in)

    @jax.jit
    def run(state):
        key_act = jax.random.split(state.key)[1]
        before = acting.World(state.env_state, state.obs, state.start, state.memory)
        env = Probe(config.num_steps, masked)
        after, memories, rollout, last = acting.act(
            state.agent, before, env, None, lambda obs: obs, cut, False, key_act
        )
        final, ends = rollout.final_value, (rollout.terminated, rollout.truncated)
        advantages = gae(rollout.reward, rollout.value, final, last, *ends, config.gamma, config.gae_lambda)
        return state._replace(env_state=after.env_state, obs=after.obs), memories, rollout, last, advantages

    after, memories, rollout, last, advantages = run(before)
    seen = world(after)
    build, theirs, _ = oracle(before.agent)
    acted, _, _ = act(build(theirs.params), theirs.memory, theirs.start, seen, config)
    expected = estimate(seen.reward, acted, seen, config.gamma * config.gae_lambda, config.gamma)
    final = np.where(seen.truncated, rollout.final_value, 0.0)
    pairs = {
        "log_prob": (rollout.log_prob, acted.log_prob),
        "value": (rollout.value, acted.value),
        "final_value": (final, acted.final_value),
        "last_value": (last, acted.last_value),
        "advantages": (advantages, expected),
    }
    assert {name: x for name, x in ((name, difference(*pair)) for name, pair in pairs.items()) if not x < 1e-5} == {}
    for n in range(cut.K * config.num_envs):
        k, b = divmod(n, config.num_envs)
        (ours,) = jax.tree.map(lambda x, n=n: x[n], memories).layers
        (theirs,) = acted.memory[max(0, k * cut.L - cut.burn_in)][b]
        if core == "gru":
            assert difference(ours.h, theirs) < 1e-5
        else:
            assert int(ours.valid) == len(theirs)
            assert not theirs or difference(ours.mem[-len(theirs) :], theirs) < 1e-5


@ONE_WORKER["gru"]
def test_what_happens_is_what_is_tested():
    """The cases above cover episodes that end, clipping, and early stops."""
    plain, limited = compared("gru", "none"), compared("gru", "all but refresh_memory")
    first = plain.worlds[0]
    terminated, truncated = first.terminated & ~first.truncated, first.truncated & ~first.terminated
    early = slice(PLAIN.num_steps - 2)  # the agent sees what comes after it
    assert all(ended[early].any() for ended in (terminated, truncated, first.terminated & first.truncated))
    assert all(ended[-1].any() for ended in (terminated, truncated, ~first.terminated & ~first.truncated))
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
        program.cache_clear()  # all at once, they take more mappings than Linux allows a process
        jax.clear_caches()


if __name__ == "__main__":
    table()
