"""navix against the package stepped by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("navix", reason="pip install 'rlformers[navix]'")

import navix
from compare import assert_protocol, assert_trains

from rlformers.envs.adapters.catalogue import ENTRIES
from rlformers.envs.adapters.left_out import why_left_out
from rlformers.envs.registry import make_env

IDS = [entry.name for entry in ENTRIES if entry.name.startswith("navix/")]
FAST = "navix/DoorKey-5x5-v0"


def test_ids_are_those_of_the_package():
    theirs = {name.replace("Navix-", "navix/") for name in navix.registry()}
    assert {name for name in theirs if not why_left_out(name)} == set(IDS)


def test_what_is_left_out_cannot_be_solved():
    """Every door of KeyCorridor is in a wall, where nobody can go, and the locked one is open."""
    state = navix.make("Navix-KeyCorridorS3R1-v0").reset(jax.random.key(0)).state
    doors = state.get_doors()
    assert (state.grid[tuple(doors.position.T)] == -1).all() and (doors.open[doors.requires == 1] == 2).all()


def test_protocol():
    assert_protocol(FAST)


@pytest.mark.parametrize("observation", ["symbolic_first_person", "symbolic"])
def test_steps_are_those_of_the_package(observation):
    """Observations, rewards and ends of random play: in lava one terminates, after the limit of steps one is cut."""
    limit, num_steps = 8, 60
    env, params = make_env("navix/LavaGapS5-v0", raw=True, max_steps=limit, observation=observation)
    function = getattr(navix.observations, observation)
    theirs = navix.make("Navix-LavaGapS5-v0", max_steps=limit, observation_fn=function)
    reset, step = jax.jit(env.reset_env), jax.jit(env.step_env)
    their_reset, their_step = jax.jit(theirs.reset), jax.jit(theirs.step)

    key, ends = jax.random.key(0), {"terminated": 0, "truncated": 0}
    obs, state = reset(key, params)
    expected = their_reset(key)
    for action in np.random.default_rng(1).choice(3, num_steps, p=[0.2, 0.2, 0.6]):
        for layer, name in enumerate(("tags", "colors", "states")):
            assert (obs[name] == expected.observation[..., layer].ravel()).all()
        obs, state, reward, terminated, _ = step(key, state, jnp.asarray(action), params)
        truncated = env.is_truncated(state, params)
        expected = their_step(expected, jnp.asarray(action))
        assert reward == expected.reward
        assert terminated == (expected.step_type == 2) and truncated == (expected.step_type == 1)
        assert not truncated or expected.t == limit
        if terminated or truncated:
            ends["terminated" if terminated else "truncated"] += 1
            key = jax.random.fold_in(key, 1)
            obs, state = reset(key, params)
            expected = their_reset(key)
    assert min(ends.values()) > 0, ends


def test_final_observation_is_that_of_the_goal():
    """The automatic reset is ours: the last observation is of the goal, the first of the new episode of the start."""
    env, params = make_env("navix/Empty-5x5-v0", raw=True, observation="symbolic")
    step = jax.jit(env.step)
    obs, state = env.reset(jax.random.key(0), params)
    first = obs
    for action in (2, 2, 1, 2, 2):  # two cells ahead, turn right, two cells ahead
        obs, state, reward, terminated, truncated, info = step(jax.random.key(1), state, jnp.asarray(action), params)
    assert terminated and not truncated and reward == 1
    goal = 3 * 5 + 3
    final = info["final_observation"]["tags"].reshape(5, 5)
    assert final[1, 1] == 1 and final.ravel()[goal] in (8, 10)  # the player has left the start
    assert (obs["tags"] == first["tags"]).all() and obs["tags"][6] == 10


def test_states_carry_no_pictures():
    env, params = make_env(FAST, raw=True)
    _, state = jax.eval_shape(env.reset_env, jax.random.key(0), params)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) < 200


@pytest.mark.parametrize(
    "kwargs,word",
    [({"max_steps": 0}, "max_steps: need at least 1"), ({"observation": "rgb"}, "observation: need one of")],
)
def test_impossible_arguments_are_named(kwargs, word):
    with pytest.raises(ValueError, match=f"env_kwargs.{word}"):
        make_env(FAST, **kwargs)


def test_training(tmp_path):
    assert_trains(FAST, tmp_path)
