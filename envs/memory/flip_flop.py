"""FlipFlop: one bit of memory, written and read at will (Liu et al. 2023, flip-flop language modelling)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import Number, need_at_least
from rlformers.envs.memory.probe import Probe, mark
from rlformers.envs.spaces import Discrete
from rlformers.errors import UserError

WRITE, IGNORE, READ = 0, 2, 4  # the first two plus the bit


class State(NamedTuple):
    """State of the register."""

    bit: Int32[Array, ""]  # what was written last
    shown: Int32[Array, ""]  # the instruction, as observed
    reads: Int32[Array, ""]  # instructions to read so far
    time: Int32[Array, ""]  # steps made


@struct.dataclass
class Params:
    """Length T, number R of instructions to read, and share of writing among the other instructions."""

    length: Number = 100
    reads: Number = 10
    write_rate: Number = 0.1

    def check(self) -> None:
        """Check the values.

        Raises:
            UserError: R below 1, T not above R, or a share outside [0, 1].
        """
        need_at_least("env_params.reads", self.reads, 1)
        if isinstance(self.reads, int):
            need_at_least("env_params.length", self.length, self.reads + 1)
        if isinstance(self.write_rate, int | float) and not 0 <= self.write_rate <= 1:
            raise UserError(f"env_params.write_rate: need 0 <= write_rate <= 1, got {self.write_rate}")


class FlipFlop(Probe):
    """A stream of instructions to write, to ignore, or to read a bit; at every read the agent names the bit written.

    Observations are Discrete(5): write 0, write 1, ignore 0, ignore 1, read. Bits are fair coins.
    The first instruction writes and the last reads. The other R - 1 reads stand at random places
    between them. Every other instruction writes with probability `write_rate`. Actions are
    Discrete(2). Episodes have T steps, and a right answer earns 1/R: the optimal return is 1,
    without memory 0.5. In the paper an instruction writes with probability 0.1 and reads with
    probability 0.1. Here the number of reads is fixed, so that every episode counts the same.

    The bit has to survive what looks like it (ignored bits) and be replaced at once: gates do both,
    attention has to find the last write among all.
    """

    default_params = Params()

    def __init__(self) -> None:
        super().__init__(num_answers=2)

    def reset_env(self, key: PRNGKeyArray, params: Params) -> tuple[Int32[Array, ""], State]:
        """Write a bit."""
        bit = jax.random.bernoulli(key).astype(jnp.int32)
        zero = jnp.zeros((), jnp.int32)
        return WRITE + bit, State(bit, WRITE + bit, zero, zero)

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Judge the answer, then give the next instruction."""
        key_place, key_write, key_bit = jax.random.split(key, 3)
        reward = mark(action == state.bit, state.shown == READ, params.reads)
        time = state.time + 1
        # (reads left)/(places left) before the last place, which is a read: all choices are equally likely.
        places_left = params.length - 1 - time
        draw = jax.random.randint(key_place, (), 0, jnp.maximum(places_left, 1))
        read = jnp.where(places_left > 0, draw < params.reads - 1 - state.reads, True)
        write = ~read & jax.random.bernoulli(key_write, params.write_rate)
        new_bit = jax.random.bernoulli(key_bit).astype(jnp.int32)
        shown = jnp.where(read, READ, jnp.where(write, WRITE, IGNORE) + new_bit).astype(jnp.int32)
        bit = jnp.where(write, new_bit, state.bit)
        state = State(bit, shown, state.reads + read.astype(jnp.int32), time)
        return shown, state, reward, time >= params.length, {}

    def observation_space(self, params: Params) -> Discrete:
        """The instructions."""
        return Discrete(5)
