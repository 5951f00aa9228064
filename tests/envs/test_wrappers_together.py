"""Every wrapper keeps the protocol around one small environment, and its names can be had from `rlformers.envs`."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from flax import struct

from rlformers import envs
from rlformers.envs import spaces
from rlformers.envs.checks import types
from rlformers.envs.environment import Environment


class State(NamedTuple):
    place: jax.Array
    velocity: jax.Array
    time: jax.Array


@struct.dataclass
class Params:
    max_steps_in_episode: int = 50


class Cart(Environment):
    """Pushed left or right; terminates at the walls."""

    default_params = Params()
    velocities = (1,)

    def reset_env(self, key, params):
        state = State(jax.random.uniform(key, (), jnp.float32, -0.1, 0.1), jnp.zeros(()), jnp.int32(0))
        return jnp.stack(state[:2]), state

    def step_env(self, key, state, action, params):
        velocity = jnp.clip(state.velocity + 0.1 * (action - 1), -0.3, 0.3).astype(jnp.float32)
        place = jnp.clip(state.place + velocity, -1, 1)
        state = State(place, velocity, state.time + 1)
        return jnp.stack(state[:2]), state, velocity, jnp.abs(place) == 1, {}

    def action_space(self, params=None):
        return spaces.Discrete(3)

    def observation_space(self, params):
        return spaces.Box(-1.0, 1.0, (2,))


# One after the other, the first innermost.
STACKS = {
    "episodes": (
        lambda env: envs.ActionRepeat(env, 2),
        envs.RandomProjection,
        lambda env: envs.TimeLimit(env, 9),
        lambda env: envs.Mask(env, [0]),
        lambda env: envs.Noise(env, 0.1),
        lambda env: envs.Delay(env, 2),
        lambda env: envs.FrameDrop(env, 0.3, flag=True),
        lambda env: envs.Flicker(env, 0.3, flag=True),
        lambda env: envs.PeriodicObservation(env, 2, flag=True),
        lambda env: envs.RewardDelay(env, 2),
        envs.TruncationTerminates,
        envs.OneHot,
        lambda env: envs.PreviousAction(env, start_flag=False),
        envs.RewardInput,
        envs.EpisodeStart,
    ),
    "trials": (
        envs.RandomProjection,
        lambda env: envs.Trial(env, steps=9, truncate=True),
        envs.EpisodeStatistics,
        envs.Flatten,
        envs.EpisodeStart,
    ),
}
WRAPPERS = [wrap for stack in STACKS.values() for wrap in stack]


def around(env, wraps):
    for wrap in wraps:
        env = wrap(env)
    return env


def name(wrap):
    return type(wrap(Cart())).__name__


@pytest.mark.parametrize("stack", STACKS)
def test_stacks_of_wrappers_keep_the_protocol(stack):
    report = envs.check(around(Cart(), STACKS[stack]), num_envs=3, num_steps=32)
    assert report.ok, report


@pytest.mark.parametrize("wrap", WRAPPERS, ids=name)
def test_types_of_every_wrapper(wrap):
    """What the checker looks at before it compiles anything; for the rest, one by one, see the slow test."""
    env = wrap(Cart())
    types.check_spaces(env, Params())
    traced = types.trace(env, Params())
    types.check_observations(env, Params(), traced)
    types.check_states(traced)
    types.check_ends(traced)
    types.check_readable(env, Params(), traced)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", WRAPPERS, ids=name)
def test_every_wrapper_keeps_the_protocol(wrap):
    report = envs.check(wrap(Cart()), num_envs=3)
    assert report.ok, report


def test_all_names_are_there_and_need_no_jax_before_they_are_used():
    assert {*map(name, WRAPPERS), "check"} == set(envs.__all__)
    assert all(getattr(envs, word).__name__ == word for word in envs.__all__)
    with pytest.raises(AttributeError, match="no attribute 'StartFlag'"):
        envs.StartFlag  # noqa: B018
    code = "import sys, rlformers.envs as e; assert 'Mask' in e.__all__ and not {'jax', 'gymnax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_programs_of_the_page_run_and_its_tables_have_every_wrapper():
    page = (Path(__file__).parents[2] / "docs/envs/wrappers.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+)\(", page, re.M)) == sorted({*envs.__all__} - {"check"})
    space = {}
    for program in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(program, space)
