"""What a sequence core is.

Axis letters of the whole package: T time, B environments, S seeds, D width, L layers, M memory length.
"""

import abc
from typing import Generic, TypeVar

import equinox as eqx
import jax
from jaxtyping import Array, Bool, Float

State = TypeVar("State")


class Core(eqx.Module, Generic[State]):
    """The memory of an agent, written for ONE sequence; callers vmap over environments.

    `start[t]` means "x[t] is the first token of a new memory": the state is replaced by the initial one BEFORE x[t]
    is consumed. Subclasses are final. They contain no randomness, no `stop_gradient`, no statistics of a batch, and
    every leaf is an array, so that plain `jax.jit`, `jax.grad`, `jax.vmap` and `jax.lax.scan` work on them.
    """

    @abc.abstractmethod
    def initial_state(self) -> State:
        """The empty memory: a NamedTuple of arrays of fixed shapes, floats in float32 or complex64."""

    @property
    def window(self) -> int | None:
        """How many tokens back an output can depend on; None: as far as the last start."""
        return None

    @abc.abstractmethod
    def step(self, state: State, x: Float[Array, " D"], start: Bool[Array, ""]) -> tuple[State, Float[Array, " D"]]:
        """Consume one token."""

    def scan(
        self, state: State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[State, Float[Array, "T D"]]:
        """Consume a segment; equal to T times `step`. Cores with a parallel form override this."""
        return jax.lax.scan(lambda carry, token: self.step(carry, *token), state, (xs, starts))

    def prepare(self, state: State) -> State:
        """Recompute whatever the state caches from the parameters; call it after every change of the parameters."""
        return state
