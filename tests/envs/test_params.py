"""Params are pytrees: jax may put anything in their place; values are checked where users give them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from rlformers.envs import Flatten, TimeLimit, Trial, check
from rlformers.envs.environment import Environment, check_params
from rlformers.envs.memory.tmaze import Params, TMaze
from rlformers.envs.registry import BUILT_IN, make_env, replace_params
from rlformers.envs.spaces import Box, Discrete
from rlformers.errors import UserError

IDS = [name for name, entry in BUILT_IN.items() if not entry.extra and "MNIST" not in name]


@pytest.mark.parametrize("name", IDS)
def test_params_are_pytrees(name):
    env, params = make_env(name)
    leaves, structure = jax.tree.flatten(params)
    zeros = jax.tree.map(lambda a, b: a - b, params, params)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(zeros))
    for stand_in in (None, 0, False, "axis", object()):
        assert jax.tree.leaves(jax.tree.unflatten(structure, [stand_in] * len(leaves)), is_leaf=lambda x: x is None)[
            : len(leaves)
        ] == [stand_in] * len(leaves)
    batch = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 2), params)
    axes = jax.tree.unflatten(structure, [0] * len(leaves))
    if leaves:
        shapes = jax.eval_shape(jax.vmap(env.reset, (None, axes)), jax.random.key(0), batch)
        assert all(leaf.shape[0] == 2 for leaf in jax.tree.leaves(shapes[0]))


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("memory/TMaze", {"length": 0}, r"env_params\.length: need at least 1, got 0"),
        ("memory/Copy", {"items": 0}, r"env_params\.items: need at least 1, got 0"),
        ("memory/DelayLine", {"answers": 0}, r"env_params\.answers: need at least 1"),
        ("memory/FlipFlop", {"reads": 100}, r"env_params\.length: need at least 101, got 100"),
        ("memory/KeyToDoor", {"num_apples": 23}, r"env_params\.num_apples: need 0 <= num_apples <= 22, got 23"),
        ("popgym/PositionOnlyCartPoleEasy", {"max_steps_in_episode": 0}, r"env_params\.max_steps_in_episode: need at"),
        ("meta/ProjectedCartPole", {"max_steps_in_episode": -2}, r"env_params\.max_steps_in_episode: need at least 1"),
        ("gymnax/CartPole-v1", {"max_steps_in_episode": 0}, r"env_params\.max_steps_in_episode: need at least 1"),
    ],
)
def test_values_of_users_are_checked(name, changes, message):
    env, params = make_env(name)
    for given in ((params,), (params, env)):
        with pytest.raises(UserError, match=f"^{message}") as error:
            replace_params(*given, **changes)
        assert "\n" not in str(error.value)


def test_a_trial_of_a_probe_is_checked_like_the_probe():
    env, params = make_env("memory/Copy", raw=True)
    trial = Trial(env, episodes=2)
    with pytest.raises(UserError, match=r"env_params\.items: need at least 1"):
        check_params(params.replace(items=0), trial)
    assert check(trial, num_envs=2, num_steps=40).ok


class Place(NamedTuple):
    time: jax.Array


@struct.dataclass
class Wind:
    wind: float = 0.5
    max_steps_in_episode: int = 10


class Windy(Environment):
    """An environment of a user that looks at its params itself."""

    def __init__(self, wind: float = 0.5):
        self.wind = wind

    @property
    def default_params(self):
        return Wind(wind=self.wind)

    def check_params(self, params):
        if params.wind > 1:
            raise UserError(f"wind: need at most 1, got {params.wind}")

    def reset_env(self, key, params):
        return jnp.zeros(1), Place(jnp.int32(0))

    def step_env(self, key, state, action, params):
        return jnp.zeros(1), Place(state.time + 1), jnp.float32(0), jnp.zeros((), bool), {}

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-1.0, 1.0, (1,))


def test_check_params_of_an_environment_is_asked_through_wrappers():
    env = Flatten(TimeLimit(Windy(), 5))
    assert replace_params(env.default_params, env, wind=0.75).wind == 0.75
    with pytest.raises(UserError, match=r"^env_params\.wind: need at most 1, got 2\.0"):
        replace_params(env.default_params, env, wind=2)
    report = check(env, Wind(wind=2.0))
    assert report.failures == ("params have possible values: UserError: wind: need at most 1, got 2.0",)
    assert check(env, num_envs=2, num_steps=12).ok


def test_make_env_checks_what_the_constructor_was_given(monkeypatch):
    from rlformers.envs import registry

    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.register_env("test/Windy", Windy)
    assert make_env("test/Windy", wind=0.25)[1].wind == 0.25
    with pytest.raises(UserError, match=r"^env_kwargs\.wind: need at most 1, got 3\.0"):
        make_env("test/Windy", wind=3.0)


def test_nothing_is_checked_while_jax_builds_params():
    assert Params(length=0).length == 0
    with pytest.raises(UserError, match=r"env_params\.length"):
        Params(length=0).check()
    # Arrays of vmapped params pass.
    Params(length=jnp.array([3, 4])).check()
    shapes = jax.eval_shape(
        jax.vmap(TMaze().reset_env, (None, Params(length=0))), jax.random.key(0), Params(length=jnp.array([3, 4]))
    )
    assert shapes[0].shape == (2, 2)
