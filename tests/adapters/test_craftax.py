"""Craftax against the package stepped by hand."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("craftax", reason="pip install 'rlformers[craftax]'")

from compare import assert_protocol, assert_trains
from craftax.craftax_env import make_craftax_env_from_name

from rlformers.envs.adapters.catalogue import ENTRIES
from rlformers.envs.registry import make_env, replace_params

IDS = [entry.name for entry in ENTRIES if entry.name.startswith("craftax/")]
FAST = "craftax/ClassicSymbolic"


def test_ids_are_those_of_the_package():
    """Read, not built: images prepare textures for minutes."""
    theirs = set(re.findall(r'"(Craftax-[A-Za-z-]+)-v1"', inspect.getsource(make_craftax_env_from_name)))
    ours = {entry.kwargs["env_id"] for entry in ENTRIES if entry.extra == "craftax"}
    assert ours == {name for name in theirs if not name.endswith("AutoReset")}


def test_steps_are_those_of_the_package():
    """Observations and rewards of random play; a limit of steps truncates, death terminates, neither resets."""
    limit, actions = 6, np.random.default_rng(0).integers(0, 17, 6)
    env, params = make_env(FAST, raw=True)
    assert params.max_timesteps == 10000
    params = replace_params(params, max_timesteps=limit)
    theirs = make_craftax_env_from_name("Craftax-Classic-Symbolic-v1", auto_reset=False)
    step, their_step = jax.jit(env.step_env), jax.jit(theirs.step_env)

    key = jax.random.key(0)
    obs, state = jax.jit(env.reset_env)(key, params)
    their_state = state.inner
    assert jnp.allclose(obs, theirs.get_obs(their_state))
    for t, action in enumerate(actions, start=1):
        key = jax.random.fold_in(key, t)
        before = state
        obs, state, reward, terminated, info = step(key, state, jnp.asarray(action), params)
        expected, their_state, their_reward, done, _ = their_step(key, their_state, jnp.asarray(action), params)
        assert (obs == expected).all() and reward == their_reward
        assert not terminated and env.is_truncated(state, params) == done == (t == limit)
        assert info["episode_achievements"] == their_state.achievements.sum()

    dying = before._replace(inner=before.inner.replace(player_health=jnp.int32(0), player_food=jnp.int32(0)))
    _, state, _, terminated, _ = step(key, dying, jnp.asarray(0), params)
    assert terminated and not env.is_truncated(state, params)  # of death, at the limit


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_protocol(name):
    assert_protocol(name, num_steps=8)


@pytest.mark.slow
def test_training(tmp_path):
    assert_trains(FAST, tmp_path)
