"""SelectiveCopy: repeat the few symbols that stood among blanks (Gu & Dao 2023, Mamba, section 4.1.1)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray, UInt32

from rlformers.envs.environment import Number, need_at_least
from rlformers.envs.memory.probe import Probe, draw_seed, mark, symbol
from rlformers.envs.spaces import Discrete


class State(NamedTuple):
    """State of the task."""

    seed: UInt32[Array, "2"]  # of the symbols
    shown: Int32[Array, ""]  # symbols shown
    time: Int32[Array, ""]  # steps made


@struct.dataclass
class Params:
    """Length L of the stream and number N of the symbols in it."""

    length: Number = 64
    items: Number = 8

    def check(self) -> None:
        """Check the values.

        Raises:
            UserError: N outside 1 ... L.
        """
        need_at_least("env_params.items", self.items, 1)
        if isinstance(self.items, int):
            need_at_least("env_params.length", self.length, self.items)


class SelectiveCopy(Probe):
    """N symbols stand at random places of a stream of L; after it the agent repeats them in order, one per step.

    Any N of the L places are equally likely. Observations are Discrete(V + 2): a symbol, the blank
    V, or the sign V + 1 that asks for the next symbol. Actions are Discrete(V). Episodes have L + N
    steps. A right answer earns 1/N: the optimal return is 1, without memory 1/V. In the paper L =
    4096, N = 16, V = 16. A core that forgets with time alone fails, however long its memory: it has
    to choose what to keep.

    Args:
        num_symbols: V.

    Raises:
        ValueError: V below 2.
    """

    default_params = Params()

    def __init__(self, num_symbols: int = 8):
        super().__init__(num_answers=num_symbols)
        need_at_least("env_kwargs.num_symbols", num_symbols, 2)

    def reset_env(self, key: PRNGKeyArray, params: Params) -> tuple[Int32[Array, ""], State]:
        """Draw a sequence and show the first place of the stream."""
        key_seed, key_place = jax.random.split(key)
        zero = jnp.zeros((), jnp.int32)
        return self._show(key_place, State(draw_seed(key_seed), zero, zero), params)

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Judge the answer and show what comes next."""
        answered = state.time - params.length
        right = action == symbol(state.seed, answered, self.num_answers)
        reward = mark(right, answered >= 0, params.items)
        obs, state = self._show(key, state._replace(time=state.time + 1), params)
        return obs, state, reward, state.time >= params.length + params.items, {}

    def _show(self, key: PRNGKeyArray, state: State, params: Params) -> tuple[Int32[Array, ""], State]:
        """Put a symbol here with probability (symbols left)/(places left), which makes all choices equally likely."""
        places_left = jnp.maximum(params.length - state.time, 1)
        chosen = jax.random.randint(key, (), 0, places_left) < params.items - state.shown
        blank_or_sign = self.num_answers + jnp.where(state.time >= params.length, 1, 0)
        obs = jnp.where(chosen, symbol(state.seed, state.shown, self.num_answers), blank_or_sign)
        return obs.astype(jnp.int32), state._replace(shown=state.shown + chosen.astype(jnp.int32))

    def observation_space(self, params: Params) -> Discrete:
        """Symbols, blank, sign."""
        return Discrete(self.num_answers + 2)
