"""A layer that remembers its last M inputs: what the attention cores share besides attention itself.

The memory is the layer's past inputs. The state also caches their keys and values, and `prepare`
recomputes these, so that the projections learn from remembered tokens too. The window is exactly
the M previous tokens and the token itself, in `step` and in `scan`. A start empties the memory.
"""

from abc import abstractmethod

import equinox as eqx
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from rlformers.cores.attention import (
    Memory,
    Positions,
    attend,
    attend_one,
    attention_weights,
    empty,
    extend,
    forget,
    push,
    refresh,
)
from rlformers.cores.core import Core
from rlformers.cores.layers import Linear


class AttentionLayer(Core[Memory]):
    """Consumes tokens. Subclasses define queries, keys and values, and what happens to the result.

    Slots number the tokens of the memory and of the segment from 0, oldest first.
    """

    W_o: eqx.AbstractVar[Linear]  # E = H d -> D
    M: int = eqx.field(static=True)
    H: int = eqx.field(static=True)
    clip: float = eqx.field(static=True)  # of `weigh`

    @abstractmethod
    def project(self, x: Float[Array, "*T D"]) -> tuple[Array, Array, Array]:
        """Queries, keys and values of inputs, "*T H d" each."""

    @abstractmethod
    def queries(self, q: Float[Array, "*T H d"], slots: Int[np.ndarray, "*T"]) -> tuple[Array, Positions | None]:
        """The queries for the keys, divided by √d, and those for the distances."""

    @abstractmethod
    def feed(self, x: Float[Array, "*T D"], a: Float[Array, "*T H d"]) -> Float[Array, "*T D"]:
        """The output, from the input and what it attended to."""

    def turn(self, k: Float[Array, "*T H d"], slots: Int[np.ndarray, "*T"]) -> Float[Array, "*T H d"]:
        """Keys as queries see them. The cache holds them as `project` gives them."""
        return k

    @property
    def window(self) -> int | None:
        """M."""
        return self.M

    def initial_state(self) -> Memory:
        """No slot is filled."""
        E, D = self.W_o.weight.shape
        return empty(self.M, D, self.H, E // self.H, self.W_o.weight.dtype)

    def step(
        self, state: Memory, x: Float[Array, " D"], start: Bool[ArrayLike, ""]
    ) -> tuple[Memory, Float[Array, " D"]]:
        """Consume one token, without projecting the memory again."""
        state = forget(state, start)
        q, k, v = self.project(x)
        slots, slot = np.arange(self.M), np.array(self.M)
        q, positions = self.queries(q, slot)
        keys = self.turn(k, slot), v, self.turn(state.k, slots), state.v
        a = attend_one(q, *keys, state.valid, positions, self.clip)
        return push(state, x, k, v), self.feed(x, a)

    def scan(
        self, state: Memory, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Memory, Float[Array, "T D"]]:
        """Consume a segment."""
        state, meeting = self.meet(state, xs, starts)
        return state, self.feed(xs, attend(*meeting))

    def prepare(self, state: Memory) -> Memory:
        """Project the memory with the present parameters."""
        return refresh(state, *self.project(state.mem)[1:])

    def attention(
        self, state: Memory, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Float[Array, "H T J"], ...]:
        """One layer."""
        _, meeting = self.meet(state, xs, starts)
        return (attention_weights(*meeting),)

    def split(self, x: Float[Array, "*T E"]) -> Float[Array, "*T H d"]:
        """Split the last axis into heads."""
        return x.reshape(*x.shape[:-1], self.H, -1)

    def meet(
        self, state: Memory, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Memory, tuple[Array, Array, Array, Array, Positions | None, float]]:
        """The memory after a segment, and the arguments of `attend`."""
        q, k, v = self.project(xs)
        state, k, v, lengths = extend(state, xs, k, v, starts)
        slots = np.arange(len(k))
        q, positions = self.queries(q, slots[self.M :])
        return state, (q, self.turn(k, slots), v, lengths, positions, self.clip)
