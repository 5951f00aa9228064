"""popgym-arcade against the package stepped by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("popgym_arcade", reason="pip install --no-deps popgym-arcade")

import popgym_arcade
from compare import assert_protocol, assert_trains
from popgym_arcade.registration import REGISTERED_ENVIRONMENTS

from rlformers.envs.adapters.catalogue import ENTRIES
from rlformers.envs.registry import make_env, replace_params

IDS = [entry.name for entry in ENTRIES if entry.name.startswith("arcade/")]
LENGTHS = {entry.name: entry.length for entry in ENTRIES}
FAST = "arcade/CountRecallEasy"


def test_ids_are_those_of_the_package():
    for twin in ("", "-MDP"):
        ours = [name.removeprefix("arcade/") for name in IDS if name.endswith("-MDP") == bool(twin)]
        assert sorted(ours) == sorted(f"{name}{twin}" for name in REGISTERED_ENVIRONMENTS)


def test_protocol():
    assert_protocol(FAST, num_steps=8)


@pytest.mark.parametrize("name", IDS)
def test_every_id_can_be_built(name):
    env, params = make_env(name)
    obs, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
    assert obs.shape == env.observation_space(params).shape


def test_a_limit_that_is_not_read_cannot_be_set():
    for game in ("CartPoleEasy", "NoisyCartPoleHard", "SkittlesMedium"):
        _, params = make_env(f"arcade/{game}")
        with pytest.raises(ValueError, match=r"^env_params\.max_steps_in_episode: .* has (gravity|no params)"):
            replace_params(params, max_steps_in_episode=5)
    _, params = make_env("arcade/BreakoutEasy")
    assert params.max_steps_in_episode == 2000 and replace_params(params, max_steps_in_episode=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_lengths_are_those_of_the_package(name):
    game = make_env(name, raw=True)[0].env
    limit = getattr(game, "max_steps_in_episode", None) or game.max_episode_length
    late = any(word in name for word in ("AutoEncode", "CartPole", "MineSweeper"))
    assert LENGTHS[name] == f"<={limit + late}"


@pytest.mark.parametrize("game", ["CountRecallEasy", "CartPoleEasy"])
def test_steps_are_those_of_the_package(game):
    """Pixels and rewards of both twins; the last card or a fallen pole terminates, the limit of steps truncates.

    CartPole looks at the state before the step.
    """
    step_of = {}
    for name, partial_obs in ((f"arcade/{game}", True), (f"arcade/{game}-MDP", False)):
        env, params = make_env(name, raw=True)
        theirs, their_params = popgym_arcade.make(game, partial_obs=partial_obs)
        theirs.is_terminated = getattr(theirs, "is_terminal", None)
        step, their_step = jax.jit(env.step_env), jax.jit(theirs.step_env)
        key, seen = jax.random.key(0), []
        obs, state = env.reset_env(key, params)
        expected, their_state = theirs.reset_env(key, their_params)
        for t, action in enumerate([4, 0, 4, 4]):
            assert obs.dtype == jnp.uint8 and (obs == expected).all()
            seen.append(obs)
            key = jax.random.fold_in(key, t)
            obs, state, reward, terminated, _ = step(key, state, jnp.asarray(action), params)
            expected, their_state, paid, done, _ = their_step(key, their_state, jnp.asarray(action), their_params)
            assert np.isclose(reward, paid) and not done and not terminated
            assert not env.is_truncated(state, params)
        step_of[partial_obs] = seen, state, step, env, params
    assert not (step_of[True][0][2] == step_of[False][0][2]).all()  # the twins show different things

    _, state, step, env, params = step_of[True]
    if game == "CountRecallEasy":
        last = state._replace(inner=state.inner.replace(timestep=jnp.asarray(25, state.inner.timestep.dtype)))
        late = state._replace(inner=state.inner.replace(alreadyMove=jnp.asarray(125, state.inner.alreadyMove.dtype)))
    else:
        last = state._replace(inner=state.inner.replace(theta=jnp.asarray(3.0, jnp.float32)))
        late = state._replace(inner=state.inner.replace(time=jnp.asarray(200, state.inner.time.dtype)))
    for case, ends in ((last, (True, False)), (late, (False, True))):
        _, after, _, terminated, _ = step(jax.random.key(1), case, jnp.asarray(4), params)
        assert (bool(terminated), bool(env.is_truncated(after, params))) == ends


def test_impossible_sizes_are_named():
    with pytest.raises(ValueError, match="env_kwargs.obs_size: need 128 or 256, got 64"):
        make_env(FAST, obs_size=64)


@pytest.mark.slow
def test_training(tmp_path):
    assert_trains(FAST, tmp_path)
