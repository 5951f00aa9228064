"""The control without memory: y = relu(W x + b). A task that it solves needs no memory."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from rlformers.cores.core import Core
from rlformers.cores.layers import Linear, orthogonal
from rlformers.cores.stack import Stack


@dataclass(frozen=True)
class Config:
    """The MLP has no options."""


class MLPState(NamedTuple):
    """Empty: it remembers nothing."""


class MLP(Core[MLPState]):
    """One layer."""

    W: Linear

    def __init__(self, width: int, *, key: PRNGKeyArray):
        self.W = Linear(width, width, key=key, init=orthogonal(2**0.5))

    @property
    def window(self) -> int | None:
        """An output depends only on its own token."""
        return 0

    def initial_state(self) -> MLPState:
        """Nothing."""
        return MLPState()

    def step(
        self, state: MLPState, x: Float[Array, " D"], start: Bool[ArrayLike, ""]
    ) -> tuple[MLPState, Float[Array, " D"]]:
        """Transform one token."""
        del start  # There is nothing to forget.
        return state, jax.nn.relu(self.W(x))

    def scan(
        self, state: MLPState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[MLPState, Float[Array, "T D"]]:
        """Transform all tokens at once."""
        del starts
        return state, jax.nn.relu(self.W(xs))


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of dense layers."""
    del config
    return Stack(tuple(MLP(width, key=k) for k in jax.random.split(key, num_layers)))
