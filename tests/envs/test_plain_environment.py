"""What environments inherit: empty params, the number of actions, and episodes that only terminate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.environment import NoParams, PlainEnvironment, TimedParams, never_truncates
from rlformers.envs.meta.task import FixedLengthEnvironment
from rlformers.envs.registry import BUILT_IN, make_env, replace_params
from rlformers.envs.spaces import Box, Discrete, MultiDiscrete
from rlformers.errors import UserError


class Clock(NamedTuple):
    time: jax.Array


def made(space, **attributes):
    """A plain environment with these actions."""
    return type("Made", (PlainEnvironment,), attributes | {"action_space": lambda self, params=None: space})()


@pytest.mark.parametrize(
    "space,number",
    [(Discrete(5), 5), (MultiDiscrete((3, 4, 2)), 3), (Box(-1.0, 1.0, (2,), jnp.float32), 2)],
)
def test_actions_are_counted(space, number):
    assert made(space).num_actions == number


def test_without_params_there_is_nothing_to_change():
    env = made(Discrete(2), never_truncates=True)
    assert env.default_params == NoParams()
    with pytest.raises(UserError, match=r"^env_params\.length: this environment has no params$"):
        replace_params(env.default_params, env, length=3)


def test_an_episode_is_truncated_by_the_params_unless_it_never_is():
    limited, endless = made(Discrete(2)), made(Discrete(2), never_truncates=True)
    at_the_limit = Clock(jnp.int32(7))
    for env, truncated in ((limited, True), (endless, False)):
        assert bool(env.is_truncated(at_the_limit, TimedParams(max_steps_in_episode=7))) is truncated
        assert not env.is_truncated(at_the_limit, TimedParams(max_steps_in_episode=8))
        assert never_truncates(env) is not truncated


def test_a_fixed_length_is_at_least_one_step():
    assert [bool(FixedLengthEnvironment(2).is_truncated(Clock(jnp.int32(t)), None)) for t in (1, 2, 3)] == [0, 1, 1]
    with pytest.raises(UserError, match=r"^env_kwargs\.episode_length: need at least 1, got 0$"):
        FixedLengthEnvironment(0)


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name.startswith(("popgym/", "memory/", "meta/"))])
def test_the_number_of_actions_is_that_of_the_space(name):
    env, params = make_env(name, raw=True)
    space = env.action_space(params)
    assert env.num_actions == (space.n if isinstance(space, Discrete) else int(np.prod(space.shape)))
