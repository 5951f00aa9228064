"""Resets that are computed where they are needed only give the episodes that resets everywhere give."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.environment import Environment
from rlformers.envs.lazy_resets import AT_A_TIME, reset_is_dear, resets_everywhere
from rlformers.envs.registry import make_env
from rlformers.envs.spaces import Box, Discrete
from rlformers.envs.wrappers import EpisodeStatistics

B = 16


def play(env, params, key, steps, axes=None):
    """What B copies show and pay under random actions; `axes` as in vmap's in_axes of params."""
    key_reset, key_steps = jax.random.split(key)
    _, state = jax.vmap(env.reset, (0, axes))(jax.random.split(key_reset, B), params)
    space = env.action_space(params if axes is None else jax.tree.map(lambda x: x[0], params))

    def step(state, key):
        key_action, key_env = jax.random.split(key)
        action = jax.vmap(space.sample)(jax.random.split(key_action, B))
        obs, state, *rest = jax.vmap(env.step, (0, 0, 0, axes))(jax.random.split(key_env, B), state, action, params)
        return state, (obs, *rest)

    return jax.lax.scan(step, state, jax.random.split(key_steps, steps))


def equal(one, other):
    return all(map(np.array_equal, jax.tree.leaves(numbers(one)), jax.tree.leaves(numbers(other))))


def numbers(tree):
    def is_key(x):
        return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)

    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


@pytest.mark.parametrize(
    ("name", "kwargs", "steps"),
    [
        ("popgym/LabyrinthExploreEasy", {"max_steps_in_episode": 12}, 30),
        ("popgym/BattleshipEasy", {}, 70),
        ("meta/ProjectedCartPole", {"episodes": 2}, 60),  # attempts end inside trials, which end too
        ("meta/BernoulliBandit", {"pulls": 7}, 20),
    ],
)
def test_episodes_are_those_of_resets_everywhere(name, kwargs, steps):
    env, params = make_env(name, **kwargs)
    env = EpisodeStatistics(env)
    assert reset_is_dear(env, params)
    key = jax.random.key(0)
    lazy = jax.jit(lambda key: play(env, params, key, steps))(key)
    with resets_everywhere():
        plain = jax.jit(lambda key: play(env, params, key, steps))(key)
    assert equal(lazy, plain)
    _, (*_, terminated, truncated, _) = lazy
    ended = terminated | truncated
    assert ended.sum() > 0 and not ended.all()
    seeds = jnp.stack([jax.random.key(5), key, jax.random.key(6)])
    vmapped = jax.jit(jax.vmap(lambda key: play(env, params, key, steps)))(seeds)
    assert equal(jax.tree.map(lambda x: x[1], vmapped), plain)


class Count(NamedTuple):
    """State of `Counted`."""

    time: jax.Array
    length: jax.Array


class Params(NamedTuple):
    """Of `Counted`."""

    longest: jax.Array


class Counted(Environment):
    """Tells of every reset that is computed, and computes much in it."""

    def __init__(self):
        self.resets = 0

    @property
    def default_params(self):
        return Params(jnp.array(9))

    def reset_env(self, key, params):
        jax.debug.callback(self._count, jax.random.key_data(key))
        length = jax.random.randint(key, (), 1, params.longest + 1)
        noise = jax.random.normal(key, (200,)).sum() * 0
        return jnp.full(1, length + noise), Count(jnp.zeros((), jnp.int32), length)

    def _count(self, key):
        del key
        self.resets += 1

    def step_env(self, key, state, action, params):
        state = state._replace(time=state.time + 1)
        return jnp.zeros(1), state, jnp.zeros(()), state.time >= state.length, {}

    def is_truncated(self, state, params):
        return jnp.zeros((), bool)

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-jnp.inf, jnp.inf, (1,), jnp.float32)


def test_resets_are_computed_where_they_are_needed():
    counted, copies, steps = Counted(), 64, 25
    env = EpisodeStatistics(counted)
    params = env.default_params

    def run(key):
        _, state = jax.vmap(env.reset, (0, None))(jax.random.split(key, copies), params)

        def step(state, key):
            keys = jax.random.split(key, copies)
            _, state, _, done, _, _ = jax.vmap(env.step, (0, 0, None, None))(keys, state, 0, params)
            return state, done

        return jax.lax.scan(step, state, jax.random.split(key, steps))

    counted.resets = 0
    _, done = jax.block_until_ready(jax.jit(run)(jax.random.key(0)))
    jax.effects_barrier()
    few = copies // AT_A_TIME
    needed = sum(-(-int(n) // few) * few for n in done.sum(1))
    assert copies + needed == counted.resets < copies * steps / 2


def test_copies_may_have_params_of_their_own():
    env = EpisodeStatistics(Counted())
    params = Params(jnp.arange(1, B + 1))
    axes = Params(0)
    key = jax.random.key(0)
    lazy = jax.jit(lambda: play(env, params, key, 30, axes))()
    with resets_everywhere():
        plain = jax.jit(lambda: play(env, params, key, 30, axes))()
    assert equal(lazy, plain)
    info = lazy[1][-1]
    assert info["episode_length"].max(0)[0] == 1 and info["episode_length"].max() > 9


def test_a_single_copy_is_reset_when_its_episode_ends():
    env = EpisodeStatistics(Counted())
    params = env.default_params
    _, state = env.reset(jax.random.key(0), params)
    step, lengths = jax.jit(env.step), []
    for t in range(30):
        _, state, _, terminated, _, info = step(jax.random.key(t), state, 0, params)
        if terminated:
            lengths.append(int(info["episode_length"]))
    assert sum(lengths) <= 30 and len(set(lengths)) > 1


def test_cheap_resets_stay_a_plain_choice():
    env, params = make_env("popgym/RepeatPreviousEasy")
    assert not reset_is_dear(EpisodeStatistics(env), params)
