"""Names, arguments and params."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs import registry
from rlformers.envs.environment import never_truncates
from rlformers.envs.popgym.repeat_first import RepeatFirst
from rlformers.envs.registry import make_env, register_env, replace_params


def test_listing_imports_no_jax():
    code = "import sys, rlformers.envs.registry as r; r.names(); assert not {'jax', 'gymnax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name,kwargs,message",
    [
        ("popgym/RepeatPrevousEasy", {}, "env: 'popgym/RepeatPrevousEasy' .*mean 'popgym/RepeatPreviousEasy'"),
        ("TMaze", {}, "mean 'memory/TMaze'"),
        ("popgym/RepeatPreviousEasy", {"lag": 3}, r"env_kwargs\.lag: .* has num_decks, k"),
        ("popgym/RepeatPreviousEasy", {"k": "four"}, "env_kwargs: .*'four'"),
        ("gymnax/DeepSea-bsuite", {"sise": 3}, r"env_kwargs\.sise: .* has size, action_mapping_key"),
        ("gymnax/MountainCar-v0", {"a": 3}, r"env_kwargs\.a: .* has no arguments"),
    ],
)
def test_mistakes_are_named_in_one_line(name, kwargs, message):
    with pytest.raises(ValueError, match=message) as error:
        make_env(name, **kwargs)
    assert "\n" not in str(error.value)


def test_arguments_reach_the_constructor():
    assert make_env("popgym/RepeatPreviousHard", raw=True, k=5)[0].k == 5
    assert make_env("popgym/RepeatPreviousHard", raw=True)[0].num_cards == 156
    assert make_env("gymnax/DeepSea-bsuite", size=4, raw=True)[0].env.size == 4
    env, params = make_env("popgym/PositionOnlyCartPoleHard")
    assert params.max_steps_in_episode == env.default_params.max_steps_in_episode == 600


def test_register(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_env("mine/First", RepeatFirst, summary="mine", previous_action=True, kwargs={"num_decks": 2})
    env, params = make_env("mine/First")
    assert env.observation_space(params).shape == (9,) and env.env.env.num_cards == 104
    with pytest.raises(ValueError, match="already registered"):
        register_env("mine/First", RepeatFirst)
    register_env("mine/Absent", "nowhere_to_be_found:Env")
    with pytest.raises(ValueError, match="cannot be loaded"):
        make_env("mine/Absent")


def test_replace_params():
    _, params = make_env("popgym/PositionOnlyCartPoleEasy")
    assert replace_params(params, gravity=5, max_steps_in_episode=7) == params.replace(
        gravity=5.0, max_steps_in_episode=7
    )
    for changes, message in (
        ({"gravitee": 1.0}, r"env_params\.gravitee: .*gravity"),
        ({"gravity": "9"}, r"env_params\.gravity: need a number, got '9'"),
        ({"gravity": True}, "need a number"),
        ({"max_steps_in_episode": 7.5}, "need an integer"),
        ({"max_steps_in_episode": True}, "need an integer"),
    ):
        with pytest.raises(ValueError, match=message):
            replace_params(params, **changes)
    _, params = make_env("gymnax/DeepSea-bsuite")
    assert replace_params(params, deterministic=False).deterministic is False
    with pytest.raises(ValueError, match="true or false"):
        replace_params(params, deterministic=1)
    _, params = make_env("gymnax/Acrobot-v1")
    changed = replace_params(params, available_torque=[-2, 0, 2]).available_torque
    assert changed.dtype == jnp.float32 and changed.tolist() == [-2, 0, 2]
    with pytest.raises(ValueError, match="numbers of shape"):
        replace_params(params, available_torque=[1.0])


@pytest.mark.parametrize(
    "name,field,steps", [("MemoryChain-bsuite", "memory_length", 1001), ("UmbrellaChain-bsuite", "chain_length", 150)]
)
def test_long_chains_end_by_themselves_and_pay(name, field, steps):
    env, params = make_env(f"gymnax/{name}")
    params = replace_params(params, **{field: 1000 if "Memory" in name else 150})
    assert never_truncates(env)
    _, state = env.reset(jax.random.key(0), params)

    def step(state, key):
        _, state, reward, terminated, truncated, _ = env.step(key, state, 0, params)
        return state, (reward, terminated, truncated)

    _, (rewards, terminated, truncated) = jax.lax.scan(step, state, jax.random.split(jax.random.key(1), steps))
    assert np.flatnonzero(terminated).tolist() == [steps - 1] and not truncated.any()
    assert abs(rewards[-1]) == 1


@pytest.mark.parametrize("name", ["popgym/RepeatPreviousEasy", "memory/ActiveTMaze", "gymnax/BernoulliBandit-misc"])
@pytest.mark.parametrize("raw", [False, True])
def test_same_key_same_episode_and_observations_in_their_space(name, raw):
    env, params = make_env(name, raw=raw)
    space = env.observation_space(params)

    def run(key):
        obs, state = env.reset(key, params)

        def step(carry, key):
            _, state = carry
            obs, state, *_ = env.step(key, state, env.action_space(params).sample(key), params)
            return (obs, state), obs

        return jax.lax.scan(step, (obs, state), jax.random.split(key, 70))[1]

    first, again, other = (jax.jit(run)(jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == space.dtype and first.shape[1:] == tuple(space.shape)
    assert jax.vmap(space.contains)(first).all()
