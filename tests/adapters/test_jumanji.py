"""jumanji against the package stepped by hand, and the spaces made of its specs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("jumanji", reason="pip install 'rlformers[jumanji]'")

import jumanji
from compare import assert_protocol, assert_trains
from jumanji import specs

from rlformers.envs import spaces
from rlformers.envs.adapters.catalogue import ENTRIES
from rlformers.envs.adapters.jumanji import Jumanji
from rlformers.envs.adapters.jumanji_spaces import convert, space_of
from rlformers.envs.adapters.left_out import why_left_out
from rlformers.envs.registry import make_env

IDS = [entry.name for entry in ENTRIES if entry.name.startswith("jumanji/")]
FAST = "jumanji/Minesweeper-v0"


def test_ids_are_those_of_the_package():
    theirs = {f"jumanji/{name}" for name in jumanji.registered_environments()}
    assert {name for name in theirs if not why_left_out(name)} == set(IDS)


def test_protocol():
    assert_protocol(FAST)


def test_steps_are_those_of_the_package():
    """Observations, masks, rewards and ends of random play; two choices with one mask are one."""
    env, params = make_env(FAST, raw=True)
    theirs = jumanji.make("Minesweeper-v0")
    assert isinstance(env.action_space(params), spaces.Discrete) and env.action_space(params).n == 100
    reset, step = jax.jit(env.reset_env), jax.jit(env.step_env)
    their_reset, their_step = jax.jit(theirs.reset), jax.jit(theirs.step)
    rng, key, ends = np.random.default_rng(0), jax.random.key(0), 0
    obs, state = reset(key, params)
    their_state, expected = their_reset(key)
    for _ in range(25):
        assert (obs["board"].reshape(10, 10) - 1 == expected.observation.board).all()
        assert (obs["action_mask"].reshape(10, 10) == expected.observation.action_mask).all()
        assert obs["num_mines"] == 10 and obs["step_count"] == expected.observation.step_count
        action = rng.choice(np.flatnonzero(obs["action_mask"]))
        obs, state, reward, terminated, _ = step(key, state, jnp.asarray(action), params)
        their_state, expected = their_step(their_state, jnp.asarray(divmod(action, 10)))
        assert reward == expected.reward
        assert terminated == (expected.last() and expected.discount == 0) and not env.is_truncated(state, params)
        if terminated:
            ends += 1
            key = jax.random.fold_in(key, 1)
            obs, state = reset(key, params)
            their_state, expected = their_reset(key)
    assert ends > 0


def test_discount_tells_truncation_from_termination(monkeypatch):
    """None of the package's environments that we have truncates, so that one is made to."""
    env, params = make_env("jumanji/Snake-v1", raw=True, time_limit=2)
    inside = env.env.step

    def step(state, action):
        state, time_step = inside(state, action)
        return state, time_step.replace(discount=jnp.where(time_step.last(), discount, 1.0))

    monkeypatch.setattr(env.env, "step", step)
    for discount in (0.0, 1.0):
        state = env.reset_env(jax.random.key(3), params)[1]
        ends = []
        for _ in range(2):
            _, state, _, terminated, _ = env.step_env(jax.random.key(0), state, jnp.asarray(1), params)
            ends.append((bool(terminated), bool(env.is_truncated(state, params))))
        assert ends[-1] == (discount == 0, discount == 1), ends


def test_final_observation_is_that_of_the_last_step():
    env, params = make_env("jumanji/Snake-v1", raw=True, time_limit=2)
    step = jax.jit(env.step)
    _, state = env.reset(jax.random.key(3), params)
    for expected in (1, 2):
        obs, state, _, terminated, truncated, info = step(jax.random.key(1), state, jnp.asarray(1), params)
        assert info["final_observation"]["step_count"] == expected
    assert terminated and not truncated and obs["step_count"] == 0


@pytest.mark.parametrize(
    "spec,text,value,converted",
    [
        (specs.DiscreteArray(5), "Discrete(5)", 3, 3),
        (specs.BoundedArray((), int, -1, 2), "Discrete(4)", -1, 0),
        (specs.BoundedArray((2, 2), jnp.int8, -1, 8), "MultiDiscrete(10 x4)", [[-1, 0], [8, 1]], [0, 1, 9, 2]),
        (specs.BoundedArray((2,), int, 0, 500), "Box(2)", [0, 500], [0.0, 500.0]),
        (specs.BoundedArray((2,), bool, False, True), "Box(2)", [True, False], [1.0, 0.0]),
        (specs.Array((2,), int), "Box(2)", [-7, 7], [-7.0, 7.0]),
    ],
)
def test_specs_become_spaces(spec, text, value, converted):
    space = space_of(spec, None)
    assert spaces.text(space) == text
    made = convert(space, jnp.asarray(value))
    assert made.dtype == space.dtype and made.shape == space.shape and np.array_equal(made, converted)
    assert space.contains(made).all()


def test_other_agents_are_refused():
    with pytest.raises(ValueError, match="one for each of its rewards"):
        Jumanji("LevelBasedForaging-v0")
    with pytest.raises(ValueError, match="env_kwargs: .*time_limits"):
        make_env("jumanji/Snake-v1", time_limits=3)


def test_training(tmp_path):
    assert_trains(FAST, tmp_path)
