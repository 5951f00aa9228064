"""Copy: repeat a sequence in its order (Hochreiter & Schmidhuber 1997; with a delay: Arjovsky et al. 2016)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray, UInt32

from rlformers.envs.environment import Number, need_at_least
from rlformers.envs.memory.probe import Probe, draw_seed, mark, symbol
from rlformers.envs.spaces import Discrete


class State(NamedTuple):
    """State of the task."""

    seed: UInt32[Array, "2"]  # of the symbols
    time: Int32[Array, ""]  # steps made


@struct.dataclass
class Params:
    """Number N of items, and steps D between the last of them and the first answer."""

    items: Number = 8
    delay: Number = 0

    def check(self) -> None:
        """Check the values.

        Raises:
            UserError: N below 1 or D below 0.
        """
        need_at_least("env_params.items", self.items, 1)
        need_at_least("env_params.delay", self.delay, 0)


class Copy(Probe):
    """N random symbols are shown, D blanks follow, then the agent repeats the symbols in order, one per step.

    Observations are Discrete(V + 2): a symbol, the blank V, or the sign V + 1 that asks for the
    next symbol; it stays the same, the agent has to know how far it is. Actions are Discrete(V).
    Episodes have 2 N + D steps. A right answer earns 1/N: the optimal return is 1, without memory
    1/V.

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
        """Draw a sequence and show its first symbol."""
        state = State(draw_seed(key), jnp.zeros((), jnp.int32))
        return self._observe(state, params), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Judge the answer and show what comes next."""
        answered = state.time - params.items - params.delay
        right = action == symbol(state.seed, answered, self.num_answers)
        reward = mark(right, answered >= 0, params.items)
        state = state._replace(time=state.time + 1)
        terminated = state.time >= 2 * params.items + params.delay
        return self._observe(state, params), state, reward, terminated, {}

    def _observe(self, state: State, params: Params) -> Int32[Array, ""]:
        shown = symbol(state.seed, state.time, self.num_answers)
        blank_or_sign = self.num_answers + jnp.where(state.time >= params.items + params.delay, 1, 0)
        return jnp.where(state.time < params.items, shown, blank_or_sign).astype(jnp.int32)

    def observation_space(self, params: Params) -> Discrete:
        """Symbols, blank, sign."""
        return Discrete(self.num_answers + 2)
