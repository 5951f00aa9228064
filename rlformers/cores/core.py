"""What a sequence core is.

These are the axis letters of the whole package. The first block means the same everywhere. Longer
names, and numbers, speak for themselves.

    T  time
    B  environments
    S  seeds
    D  width
    L  layers
    M  memory length: tokens that attention caches

    A  numbers of an action
    C  channels of an LMU or a convolution; contexts of FFM
    E  inner width of a layer, such as H d
    F  hidden units of a feed-forward part; numbers of an observation
    G  columns of all gates of a unit, side by side
    H  heads
    J  keys that a segment attends to, M + T
    K  size of a key; taps of a convolution
    N  states of a linear system; samples, or leaves, behind a statistic
    P  complex states of a diagonal system (S5, LRU); channels of a head (Mamba)
    Q  coefficients of all channels of an LMU, C N
    R  distances that attention looks back, M .. 0; rows of a table of positions
    V  size of a value
    b  size of a block of a matrix
    c  tokens of a chunk; queries of a block
    d  size of a head
    g  columns of two gates
    i  inputs of a matrix
    k  inputs that a convolution keeps, K - 1
    m  traces of FFM
    n  blocks; pairs of real numbers that make a complex one
    o  outputs of a matrix
    p  size of the query for a distance
    r  rotating pairs
    w  tokens that a chunk or block sees
"""

import abc
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

State = TypeVar("State")


class Core(eqx.Module, Generic[State]):
    """The memory of an agent, written for ONE sequence; callers vmap over environments.

    `start[t]` means "x[t] is the first token of a new memory": the core replaces the state by the
    initial one BEFORE it consumes x[t]. Concrete subclasses are final. They contain no randomness,
    no `stop_gradient` and no batch statistics, and every leaf is an array, so plain `jax.jit`,
    `jax.grad`, `jax.vmap` and `jax.lax.scan` work on them. A core defines `step` or `scan`, and the
    other one follows from it. It defines both where it has a better form.
    """

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if cls.step is Core.step and cls.scan is Core.scan:
            raise TypeError(f"{cls.__name__}: a core must define step or scan, or both")

    @abc.abstractmethod
    def initial_state(self) -> State:
        """The empty memory: a NamedTuple of arrays of fixed shapes, floats in float32 or complex64."""

    @property
    def window(self) -> int | None:
        """How many tokens back an output can depend on; None means back to the last start."""
        return None

    def step(self, state: State, x: Float[Array, " D"], start: Bool[ArrayLike, ""]) -> tuple[State, Float[Array, " D"]]:
        """Consume one token; by default, as a segment of one. `start` may be `True` or `False`."""
        state, ys = self.scan(state, x[None], jnp.asarray(start, bool)[None])
        return state, ys[0]

    def scan(
        self, state: State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[State, Float[Array, "T D"]]:
        """Consume a segment. It equals T calls of `step`, the default; a core may override it by a parallel form."""
        return jax.lax.scan(lambda carry, token: self.step(carry, *token), state, (xs, starts))

    def prepare(self, state: State) -> State:
        """Recompute what the state caches from the parameters. Call it after every change of the parameters."""
        return state

    def attention(
        self, state: State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Float[Array, "H T J"], ...]:
        """What `scan` of this segment attends to: the weights of every attention layer, bottom first.

        There is one row per head and query token. The J = M + T keys are the M cached tokens, then
        the segment. A key that a query cannot see has the weight 0. The tuple is empty if no part
        of this core attends.
        """
        return ()

    def eigenvalues(
        self, state: State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """Eigenvalues of dh_t / dh_{t-1} of every linear recurrence h in this core, bottom first, in this segment.

        T = 1 where they do not depend on the input. An eigenvalue appears once if several features
        share it, or if the core stores half of a conjugate pair. Starts, which drop h, do not
        count. The tuple is empty if no part of this core is a recurrence that is linear in its
        state.
        """
        return ()
