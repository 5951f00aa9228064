"""MemoryChain: recall one of the bits of the first observation (bsuite, Osband et al. 2020, `memory_chain.py`)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import Number, need_at_least
from rlformers.envs.memory.probe import Probe
from rlformers.envs.spaces import Box


class State(NamedTuple):
    """State of the chain."""

    context: Int32[Array, " num_bits"]  # 0 or 1
    query: Int32[Array, ""]  # which bit will be asked for
    time: Int32[Array, ""]  # steps made


@struct.dataclass
class Params:
    """Length L of the memory."""

    memory_length: Number = 32

    def check(self) -> None:
        """Check the values.

        Raises:
            UserError: L below 1.
        """
        need_at_least("env_params.memory_length", self.memory_length, 1)


class MemoryChain(Probe):
    """Bits are shown at the start. L steps later the agent names the bit that the query points to.

    The observation made at time t, float32 [2 + num_bits], is (1 - t/L, the query's index if t = L
    - 1 else 0, the bits as -1 or 1 if t = 0 else zeros). As in bsuite, step n returns the
    observation of time n - 1: the bits are seen both after the reset and after the first step, and
    an episode has L + 1 steps. The last step earns 1 if the action equals the bit, else -1; all
    other steps earn 0.

    Episodes terminate then and are never truncated: gymnax's port has a time limit of 1000 steps
    beside the length, which cuts longer chains off before they pay. Optimal return 1, without
    memory 0 (1 if L = 1, see above).

    Args:
        num_bits: Number of bits. One of them is asked for.

    Raises:
        ValueError: `num_bits` below 1.
    """

    default_params = Params()

    def __init__(self, num_bits: int = 1):
        super().__init__(num_answers=2)
        need_at_least("env_kwargs.num_bits", num_bits, 1)
        self.num_bits = num_bits

    def reset_env(self, key: PRNGKeyArray, params: Params) -> tuple[Float32[Array, " n"], State]:
        """Draw the bits and the query."""
        key_context, key_query = jax.random.split(key)
        context = jax.random.bernoulli(key_context, shape=(self.num_bits,)).astype(jnp.int32)
        query = jax.random.randint(key_query, (), 0, self.num_bits, jnp.int32)
        state = State(context, query, jnp.zeros((), jnp.int32))
        return self._observe(state, params), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[Float32[Array, " n"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Go on; judge the action at the end of the chain."""
        terminated = state.time >= params.memory_length
        right = action == state.context[state.query]
        reward = jnp.where(terminated, jnp.where(right, 1.0, -1.0), 0.0).astype(jnp.float32)
        return self._observe(state, params), state._replace(time=state.time + 1), reward, terminated, {}

    def _observe(self, state: State, params: Params) -> Float32[Array, " n"]:
        remaining = 1 - state.time / params.memory_length
        query = jnp.where(state.time == params.memory_length - 1, state.query, 0)
        context = jnp.where(state.time == 0, 2 * state.context - 1, 0)
        return jnp.concatenate([jnp.stack([remaining, query]), context]).astype(jnp.float32)

    def observation_space(self, params: Params) -> Box:
        """Share of time left, query, bits."""
        return Box(-1.0, float(max(1, self.num_bits - 1)), (2 + self.num_bits,), jnp.float32)
