"""A sound environment, and variants of it that break one point of the protocol each."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from rlformers.envs.environment import Environment
from rlformers.envs.spaces import Box, Dict, Discrete, Space


class State(NamedTuple):
    place: jax.Array
    time: jax.Array


@struct.dataclass
class Params:
    max_steps_in_episode: int = 50
    speed: float = 0.25


class Walk(Environment):
    """A random walk; terminates at ±1. Subclasses break one thing each."""

    default_params = Params()

    def show(self, state, first):
        return {"place": state.place[None], "start": jnp.float32(first)}

    def reset_env(self, key, params):
        state = State(jax.random.uniform(key, (), jnp.float32, -0.1, 0.1), jnp.int32(0))
        return self.show(state, True), state

    def step_env(self, key, state, action, params):
        place = state.place + params.speed * (action - 1)
        state = State(jnp.clip(place, -1, 1).astype(jnp.float32), state.time + 1)
        return self.show(state, False), state, self.pay(state), jnp.abs(state.place) == 1, {}

    def pay(self, state):
        return state.place

    def action_space(self, params=None):
        return Discrete(3)

    def observation_space(self, params):
        return Dict({"place": Box(-1.0, 1.0, (1,)), "start": Box(0.0, 1.0, ())})


class UnknownSpace(Walk):
    def action_space(self, params=None):
        return Space()


class Escapes(Walk):
    def show(self, state, first):
        return {"place": state.place[None] + 2, "start": jnp.float32(first)}


class Branches(Walk):
    def pay(self, state):
        return jnp.float32(1) if state.place > 0 else jnp.float32(0)


class WrongShape(Walk):
    def show(self, state, first):
        return {"place": state.place, "start": jnp.float32(first)}


class MissingEntry(Walk):
    def show(self, state, first):
        return {"place": state.place[None]}


class WrongDtype(Walk):
    def show(self, state, first):
        return {"place": state.place[None], "start": jnp.int32(first)}


class ChangingState(Walk):
    def step_env(self, key, state, action, params):
        obs, state, *rest = super().step_env(key, state, action, params)
        return obs, state._replace(time=state.time.astype(jnp.float32)), *rest


class TwoRewards(Walk):
    def pay(self, state):
        return jnp.ones(2)


class OldReturn(Walk):
    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, _ = super().step_env(key, state, action, params)
        return obs, state, reward, terminated


class Leaves(Walk):
    def observation_space(self, params):
        return Dict({"place": Box(-0.5, 0.5, (1,)), "start": Box(0.0, 1.0, ())})


class NotANumber(Walk):
    def pay(self, state):
        return jnp.log(state.place)


class OtherRandomness(Walk):
    """Draws from the host at run time."""

    def pay(self, state):
        def draw(x):
            return np.random.default_rng().random(x.shape, np.float32)

        return jax.pure_callback(draw, state.place, state.place, vmap_method="expand_dims")


class ConstantOfTheTrace(Walk):
    """Draws from the host once per compilation."""

    def pay(self, state):
        return state.place + np.float32(np.random.default_rng().random())


class ForgetsToReset(Walk):
    def step(self, key, state, action, params=None):
        obs, state, reward, terminated, info = self.step_env(jax.random.split(key)[0], state, action, params)
        return obs, state, reward, terminated, self.is_truncated(state, params), {"final_observation": obs}


class ShowsTheResetTwice(Walk):
    def step(self, key, state, action, params=None):
        obs, *rest, info = super().step(key, state, action, params)
        return obs, *rest, {**info, "final_observation": obs}


class NoFinal(Walk):
    def step(self, key, state, action, params=None):
        *rest, info = super().step(key, state, action, params)
        return *rest, {}


class FiveValues(Walk):
    def step(self, key, state, action, params=None):
        obs, state, reward, terminated, truncated, info = super().step(key, state, action, params)
        return obs, state, reward, terminated | truncated, info


class FoldedLimit(Walk):
    """The convention of gymnax before 1.0."""

    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, info = super().step_env(key, state, action, params)
        return obs, state, reward, terminated | (state.time >= params.max_steps_in_episode), info


class NoClock(Walk):
    def step_env(self, key, state, action, params):
        obs, after, *rest = super().step_env(key, state, action, params)
        return obs, after._replace(time=state.time), *rest


class FalseDeclaration(Walk):
    never_truncates = True


class StaleFlag(Walk):
    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, info = super().step_env(key, state, action, params)
        return {**obs, "start": jnp.where(terminated, 1.0, 0.0).astype(jnp.float32)}, state, reward, terminated, info


class WrongMask(Walk):
    def show(self, state, first):
        return {"place": state.place[None], "action_mask": jnp.ones(2, bool)}

    def observation_space(self, params):
        return Dict({"place": Box(-1.0, 1.0, (1,)), "action_mask": Box(0, 1, (2,), jnp.bool_)})


class IgnoresTheLimit(Walk):
    """Of its own, whatever its params say."""

    def is_truncated(self, state, params):
        return state.time >= 30


class NoticesTheLimitLate(Walk):
    def is_truncated(self, state, params):
        return state.time > params.max_steps_in_episode


BROKEN = {
    UnknownSpace: "spaces are known ones: action_space has a Space",
    Branches: "reset and step can be traced: TracerBoolConversionError",
    OldReturn: "reset and step can be traced: step_env does not return observation, state, reward, terminated and",
    WrongShape: "observations have .*: observation of reset_env['place'] is float32[], space has float32[1]",
    MissingEntry: "observations have .*: observation of reset_env has ['place'], space has ['place', 'start']",
    WrongDtype: "observations have .*['start'] is int32[], space has float32[]",
    ChangingState: "states keep .*: state.time is int32[] at reset, float32[] after a step",
    TwoRewards: "reward, .*: reward is float32[2], need float32[]",
    WrongMask: "agents can read .*: action_mask is bool[2], need bool[3]",
    Leaves: "values are in their spaces: observation['place'][0] is ",
    NotANumber: "numbers are finite: reward is [nan] at step [",
    OtherRandomness: "the same keys give the same episodes: played again: ",
    ConstantOfTheTrace: "single steps equal the scan: step 0: reward ",
    ForgetsToReset: "the automatic reset shows a first observation: step ",
    ShowsTheResetTwice: "final_observation is that of the last step: step ",
    NoFinal: "final_observation is that of the last step: info has no final_observation",
    FiveValues: "single steps equal the scan: step returns 5 values, need 6",
    FoldedLimit: "a time limit truncates: max_steps_in_episode=7 terminates episodes that would go on",
    NoClock: "a time limit truncates: an episode of ",
    IgnoresTheLimit: "a time limit truncates: max_steps_in_episode=7 does not truncate episodes that go on until then",
    NoticesTheLimitLate: "a time limit truncates: max_steps_in_episode=7 does not truncate ",
    FalseDeclaration: "never_truncates is honest: declared, and ",
    StaleFlag: "start flags are 1 at starts: 'start' is not 0 in final_observation",
}
