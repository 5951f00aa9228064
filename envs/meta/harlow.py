"""Harlow's task: learn how to learn which of two objects hides the food (Harlow 1949, as in Wang et al. 2018)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import need_at_least
from rlformers.envs.meta.task import MetaEnvironment
from rlformers.envs.spaces import Box, Discrete
from rlformers.envs.wrappers.trial import in_trials


class State(NamedTuple):
    """State of a choice."""

    swapped: Bool[Array, ""]  # object 0, the right one, is on the right
    time: Int32[Array, ""]  # choices made


class Task(NamedTuple):
    """What is new."""

    objects: Float32[Array, "2 D"]  # of length 1; the first hides the food


class Harlow(MetaEnvironment):
    """One choice between two new objects, side by side in random order. The right one pays 1.

    Objects are random directions in D dimensions, instead of the pictures of Wang et al. 2018 or
    the things of Harlow. Observes both, float32 [2, D]: left, right. Actions: 0 left, 1 right. A
    choice is an episode, so a trial of six choices, as in Harlow's experiment, reports the return
    of the k-th as that of attempt k. The first is chance. An agent that has learnt how to learn
    earns 1 from the second on.

    Args:
        dimensions: D.

    Raises:
        UserError: D below 1.
    """

    never_truncates = True

    def __init__(self, dimensions: int = 8):
        need_at_least("env_kwargs.dimensions", dimensions, 1)
        self.dimensions = dimensions

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Task:
        """Draw two objects."""
        objects = jax.random.normal(key, (2, self.dimensions))
        return Task(objects / jnp.linalg.norm(objects, axis=1, keepdims=True))

    def reset_env(self, key: PRNGKeyArray, task: Task) -> tuple[Float32[Array, "2 D"], State]:
        """Put them side by side."""
        state = State(jax.random.bernoulli(key), jnp.zeros((), jnp.int32))
        return self._see(state, task), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, task: Task
    ) -> tuple[Float32[Array, "2 D"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Choose one of them."""
        reward = jnp.where(action == state.swapped, 1.0, 0.0)
        state = state._replace(time=state.time + 1)
        return self._see(state, task), state, reward, jnp.ones((), jnp.bool_), {}

    def _see(self, state: State, task: Task) -> Float32[Array, "2 D"]:
        return jnp.where(state.swapped, task.objects[::-1], task.objects)

    def action_space(self, params: Any = None) -> Discrete:
        """Left and right."""
        return Discrete(2)

    def observation_space(self, params: Any) -> Box:
        """The object on the left, and that on the right."""
        return Box(-1.0, 1.0, (2, self.dimensions), jnp.float32)


def errorless_after_one(choices: int) -> float:
    """Expected return of a trial if the first choice is a guess and all others are right."""
    return choices - 0.5


make_harlow = in_trials(Harlow)
