"""A user's environments and cores that fail in many ways, for the tests of messages."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlformers.cores.core import Core
from rlformers.envs.environment import Environment, TimedParams
from rlformers.envs.spaces import Box, Dict, Discrete


class State(NamedTuple):
    """Steps of the episode."""

    time: Any


class Sound(Environment):
    """An environment without a fault; episodes of 4 steps."""

    @property
    def name(self):
        return "Sound"

    @property
    def default_params(self):
        return TimedParams(max_steps_in_episode=4)

    def reset_env(self, key, params):
        return jnp.zeros(3), State(jnp.zeros((), jnp.int32))

    def step_env(self, key, state, action, params):
        time = state.time + 1
        return jnp.ones(3), State(time), jnp.ones(()), time >= 9, {}

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-1.0, 1.0, (3,), jnp.float32)


def faulty(**changes):
    """The class with some methods changed."""
    return type("Faulty", (Sound,), changes)


def step_that(change):
    """A `step_env` whose five values are changed."""

    def step_env(self, key, state, action, params):
        return change(*Sound.step_env(self, key, state, action, params))

    return faulty(step_env=step_env)


def masked(size):
    """An environment of two actions whose mask has another size."""

    def see(x):
        return {"x": x, "action_mask": jnp.ones(size, bool)}

    def reset_env(self, key, params):
        obs, state = Sound.reset_env(self, key, params)
        return see(obs), state

    def step_env(self, key, state, action, params):
        obs, *rest = Sound.step_env(self, key, state, action, params)
        return see(obs), *rest

    def observation_space(self, params):
        parts = {"x": Box(-1.0, 1.0, (3,), jnp.float32), "action_mask": Box(0, 1, (size,), jnp.bool_)}
        return Dict(parts)

    return faulty(reset_env=reset_env, step_env=step_env, observation_space=observation_space)


def raising(error):
    """An environment whose step raises an error while it is traced."""

    def step_env(self, key, state, action, params):
        raise error

    return faulty(step_env=step_env)


def raising_later(error):
    """An environment that raises an error when it is run, not when it is traced."""

    def fail(time):
        raise error

    def step_env(self, key, state, action, params):
        jax.debug.callback(fail, state.time)
        return Sound.step_env(self, key, state, action, params)

    return faulty(step_env=step_env)


@dataclass(frozen=True)
class Config:
    """No options."""


class Memory(NamedTuple):
    """What the core keeps."""

    h: Any


def core(step):
    """The definition of a core with this step."""

    class Kept(Core):
        width: int

        def initial_state(self):
            return Memory(jnp.zeros(self.width))

        def step(self, state, x, start):
            return step(state, x, start)

    return SimpleNamespace(Config=Config, make=lambda config, width, num_layers, key: Kept(width))


__all__ = ["Config", "Memory", "Sound", "core", "masked", "raising", "raising_later", "step_that"]
