"""Two whole updates of ours against the oracle's, every option on and off. `python -m ppo.test_update` has the table."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
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
from .update import State, World, update

WIDTH, NUM_UPDATES = 4, 4
CORES = {"gru": {}, "gtrxl": {"memory": 3, "heads": 2}}
PLAIN = PPOConfig(
    num_envs=4,
    num_steps=12,
    num_minibatches=2,
    update_epochs=2,
    lr=3e-3,
    gamma=0.9,
    gae_lambda=0.8,
    clip_eps=0.02,
    normalize_rewards=False,
    normalize_advantages=False,
    anneal_lr=False,
    anneal_ent=False,
    max_grad_norm=100.0,
)
CHUNKS = {"bptt_length": 4}
CASES = {
    "plain": {},
    "clip_value": {"clip_value": True},
    "bptt_length": CHUNKS,
    "burn_in": CHUNKS | {"burn_in": 2},
    "burn_in, one sequence": {"burn_in": 3},
    "refresh_memory": CHUNKS | {"refresh_memory": True},
    "burn_in, refresh_memory": CHUNKS | {"burn_in": 3, "refresh_memory": True},
    "target_kl": {"target_kl": 1e-4},
    "normalize_rewards": {"normalize_rewards": True, "reward_scale": 3.0},
    "normalize_observations": {"normalize_observations": True},
    "normalize_advantages": {"normalize_advantages": True},
    "anneal_lr": {"anneal_lr": True},
    "anneal_ent": {"anneal_ent": True},
    "numbers": {
        "warmup": 0.6,
        "weight_decay": 0.1,
        "clip_eps_high": 0.04,
        "adam_b1": 0.8,
        "adam_b2": 0.99,
        "adam_eps": 1e-4,
    },
    "max_grad_norm": {"max_grad_norm": 0.1},
    "masks": {"masked": True},
}


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
    permutations = [jax.random.permutation(jax.random.split(k)[0], N) for k in jax.random.split(key_learn, config.update_epochs)]
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


def moments(samples):
    samples = np.asarray(samples)
    return len(samples), samples.mean(0), np.square(samples - samples.mean(0)).sum(0)


@functools.cache
def differences(core, case):
    """The largest difference of every quantity in two updates, relative to what is larger than 1."""
    options = dict(CASES[case])
    masked = options.pop("masked", False)
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
    worst = {}

    def compare(name, x, y):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        assert x.shape == y.shape
        worst[name] = max(worst.get(name, 0.0), np.max(np.abs(x - y) / np.maximum(1, np.abs(y))))

    for _ in range(2):
        order = orders(ours.key, config)
        ours, metrics = program(core, masked, static(config))(ours, Numbers.of(config, NUM_UPDATES))
        theirs, expected, _ = update(theirs, world(ours), order, build, decays, config, NUM_UPDATES)
        compare("parameters", flat(ours.agent), theirs.params)
        compare("Adam m", flat(optax.tree.get(ours.opt_state, "mu")), theirs.m)
        compare("Adam v", flat(optax.tree.get(ours.opt_state, "nu")), theirs.v)
        if config.normalize_rewards:
            compare("rewards", flat(ours.normalizers.reward), np.hstack(moments(theirs.returns)))
            compare("discounted", ours.normalizers.discounted_return, theirs.discounted)
        if config.normalize_observations:
            compare("observations", flat(ours.normalizers.observation), np.hstack(moments(theirs.observations)))
        assert {f"ppo/{name}" for name in expected} == {name for name in metrics if name.startswith("ppo/")}
        for name, value in expected.items():
            compare(name, metrics[f"ppo/{name}"], value)
    return worst


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("case", CASES)
def test_two_updates(core, case):
    assert {name: x for name, x in differences(core, case).items() if not x < 1e-5} == {}


def table():
    for core in CORES:
        for case in CASES:
            print(core, case, *(f"{k} {v:.1e}" for k, v in differences(core, case).items()), sep="  ", flush=True)


if __name__ == "__main__":
    table()
