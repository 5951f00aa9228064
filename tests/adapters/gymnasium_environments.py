"""Environments of Gymnasium for its tests, and rollouts of them."""

from collections import OrderedDict
from contextlib import contextmanager

import gymnasium
import jax
import numpy as np


class Counter(gymnasium.Env):
    """Counts its resets and steps; an episode of seed s terminates after 3 + s % 4 steps, or after `truncates`."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64)
    action_space = gymnasium.spaces.Discrete(3, start=-1)
    resets = 0

    def __init__(self, truncates=100):
        self.truncates = truncates

    def reset(self, *, seed=None, options=None):
        type(self).resets += 1
        self.seed, self.time, self.total = seed % 1000, 0, 0
        return self._see(), {}

    def step(self, action):
        assert action in self.action_space
        self.time, self.total = self.time + 1, self.total + int(action)
        done = self.time >= 3 + self.seed % 4
        return self._see(), float(action), done, self.time >= self.truncates and not done, {}

    def _see(self):
        return np.array([self.seed, self.time, self.total, self.seed % 4], np.float64)


class Parts(gymnasium.Env):
    """Shows its seed, time and last action in a Dict with a Tuple; `order` is that of the keys of the Dict."""

    action_space = gymnasium.spaces.Dict(
        push=gymnasium.spaces.Discrete(3, start=1), turn=gymnasium.spaces.Box(-1, 1, (), np.float64)
    )

    def __init__(self, order="ab"):
        scalar, whole = gymnasium.spaces.Box(-1, 1, (), np.float64), gymnasium.spaces.Discrete(4)
        spaces = {"a": gymnasium.spaces.Tuple([scalar, whole]), "b": gymnasium.spaces.Box(0, 999, (2,), np.float32)}
        self.observation_space = gymnasium.spaces.Dict(OrderedDict((key, spaces[key]) for key in order))

    def reset(self, *, seed=None, options=None):
        self.seed, self.time = seed % 1000, 0
        return self._see({"push": 1, "turn": 0.0}), {}

    def step(self, action):
        assert action in self.action_space
        self.time += 1
        return self._see(action), 0.0, self.time == 5, False, {}

    def _see(self, action):
        return {"b": np.array([self.seed, self.time], np.float32), "a": (np.asarray(action["turn"]), action["push"])}


class OneArray(Counter):
    """Shows the same array all the time, and changes it."""

    def _see(self):
        self.array = getattr(self, "array", np.zeros(4))
        self.array[:] = super()._see()
        return self.array


class Fails(Counter):
    """Fails at action 0, the second of -1, 0, 1."""

    def step(self, action):
        if action == 0:
            raise RuntimeError("the second failed")
        return super().step(action)


@contextmanager
def counters_and_parts():
    """All of these, registered."""
    for env in (Counter, OneArray, Fails):
        gymnasium.register(f"rlformers/{env.__name__}-v0", env)
    gymnasium.register("rlformers/Parts-v0", Parts, max_episode_steps=20)
    yield
    for name in ("Counter", "OneArray", "Fails", "Parts"):
        del gymnasium.registry[f"rlformers/{name}-v0"]


def rollout(env, params, key, num_envs, num_steps, seeds=1):
    """Actions, observations, final ones, rewards and ends, [S, T, B], of a scan in which all copies are vmapped."""

    def play(key):
        obs, state = jax.vmap(env.reset, (0, None))(jax.random.split(key, num_envs), params)

        def step(carry, key):
            keys = jax.random.split(key, num_envs)
            action = jax.vmap(env.action_space(params).sample)(keys)
            obs, state, reward, terminated, truncated, info = jax.vmap(env.step, (0, 0, 0, None))(
                keys, carry, action, params
            )
            return state, (action, obs, info["final_observation"], reward, terminated, truncated)

        return obs, jax.lax.scan(step, state, jax.random.split(key, num_steps))[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(play))(jax.random.split(key, seeds)))
