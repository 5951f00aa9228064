"""Environments that show dicts with names of ours: wrappers act on all of it, and overwrite nothing."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from rlformers.envs import EpisodeStart, Flicker, PreviousAction, RewardInput, Trial
from rlformers.envs.environment import Environment, TimedParams
from rlformers.envs.spaces import Box, Dict, Discrete, leaves

NAMES = ("observation", "achieved_goal", "desired_goal", "start", "seen", "previous_reward")
NEVER, ALWAYS = 1e-7, 1 - 1e-7  # the wrapper takes neither 0 nor 1


class TimedState(NamedTuple):
    time: jax.Array


class Goals(Environment):
    """Shows 7 under each of `NAMES`, and maybe a mask."""

    default_params = TimedParams(5)

    def __init__(self, mask=False):
        self.mask = mask

    def show(self):
        return {name: jnp.full(2, 7.0) for name in NAMES} | ({"action_mask": jnp.ones(3, bool)} if self.mask else {})

    def reset_env(self, key, params):
        return self.show(), TimedState(jnp.int32(0))

    def step_env(self, key, state, action, params):
        return self.show(), TimedState(state.time + 1), jnp.float32(1), jnp.zeros((), bool), {}

    def observation_space(self, params):
        mask = {"action_mask": Box(0, 1, (3,), jnp.bool_)} if self.mask else {}
        return Dict({name: Box(0.0, 10.0, (2,), jnp.float32) for name in NAMES} | mask)

    def action_space(self, params=None):
        return Discrete(3)


def observe(env):
    """The observation of a step, which has the structure of the space and is in it."""
    params = env.default_params
    obs, state = env.reset_env(jax.random.key(0), params)
    later, *_ = env.step_env(jax.random.key(1), state, 1, params)
    space = env.observation_space(params)
    assert jax.tree.structure(obs) == jax.tree.structure(later)
    assert all(bool(part.contains(value)) for part, value in leaves(space, later)), later
    return later


@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("mask", [False, True])
def test_a_blank_is_blank_for_goals_too(flag, mask):
    obs = observe(Flicker(Goals(mask), ALWAYS, flag))
    if mask:
        assert obs["action_mask"].all()
    shown = obs["observation"] if flag or mask else obs
    assert set(shown) == set(NAMES) and not any(part.any() for part in shown.values())
    assert set(obs) - set(NAMES) == ({"action_mask"} if mask else set())
    assert not flag or obs["seen"].shape == ()


def test_nothing_that_the_environment_shows_is_overwritten():
    for outer in (
        EpisodeStart(Goals()),
        Trial(Goals(), episodes=2),
        RewardInput(PreviousAction(Goals(), start_flag=True)),
        Flicker(RewardInput(EpisodeStart(Goals(mask=True))), NEVER, flag=True),
        RewardInput(Flicker(Goals(), NEVER)),
    ):
        obs = observe(outer)
        assert set(obs["observation"]) == set(NAMES)
        assert all((part == 7).all() for part in obs["observation"].values())
        assert all(jnp.shape(obs[name]) == () for name in ("start", "seen", "previous_reward") if name in obs)


def test_what_wrappers_add_is_not_blanked():
    obs = observe(Flicker(RewardInput(EpisodeStart(Goals())), ALWAYS))
    assert not obs["observation"]["desired_goal"].any() and obs["previous_reward"] == 1 and obs["start"] == 0
