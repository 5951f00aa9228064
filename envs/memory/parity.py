"""Parity: keep the parity of a stream of bits, the smallest task of state tracking (e.g. Merrill et al. 2024)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import Number, need_at_least
from rlformers.envs.memory.probe import Probe, mark
from rlformers.envs.spaces import Discrete


class State(NamedTuple):
    """State of the task."""

    parity: Int32[Array, ""]  # of the bits shown
    time: Int32[Array, ""]  # steps made


@struct.dataclass
class Params:
    """Length T."""

    length: Number = 32

    def check(self) -> None:
        """Check the values.

        Raises:
            UserError: T below 1.
        """
        need_at_least("env_params.length", self.length, 1)


class Parity(Probe):
    """A stream of fair bits; at every step the agent says whether the number of ones so far is odd.

    Observations and actions are Discrete(2). Episodes have T steps; a right answer earns 1/T: the
    optimal return is 1. Without memory the answer is a coin flip except at the first step, where it
    is the bit itself: (T + 1)/(2 T). Nothing may be forgotten and every bit flips the answer:
    linear recurrences with decays in (0, 1) and attention find no way that holds at all lengths.
    """

    default_params = Params()

    def __init__(self) -> None:
        super().__init__(num_answers=2)

    def reset_env(self, key: PRNGKeyArray, params: Params) -> tuple[Int32[Array, ""], State]:
        """Show the first bit."""
        bit = jax.random.bernoulli(key).astype(jnp.int32)
        return bit, State(bit, jnp.zeros((), jnp.int32))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Judge the answer, then show the next bit."""
        reward = mark(action == state.parity, jnp.bool_(True), params.length)
        bit = jax.random.bernoulli(key).astype(jnp.int32)
        state = State(state.parity ^ bit, state.time + 1)
        return bit, state, reward, state.time >= params.length, {}

    def observation_space(self, params: Params) -> Discrete:
        """The bit."""
        return Discrete(2)
