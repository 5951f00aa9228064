"""What a sequence core is.

Axis letters of the whole package. Those of the first block mean the same everywhere; longer names, and numbers, speak
for themselves.

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
    N  states of a linear system; samples, or leaves, of which there is a statistic
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
    n  blocks; pairs of numbers that make a complex one
    o  outputs of a matrix
    p  size of what meets a distance
    r  pairs that rotate
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

    `start[t]` means "x[t] is the first token of a new memory": the state is replaced by the initial one BEFORE x[t]
    is consumed. Concrete subclasses are final. They contain no randomness, no `stop_gradient`, no statistics of a
    batch, and every leaf is an array, so that plain `jax.jit`, `jax.grad`, `jax.vmap` and `jax.lax.scan` work on them.
    A core defines `step` or `scan`, from which the other one follows, or both where it has a better one.
    """

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if cls.step is Core.step and cls.scan is Core.scan:
            raise TypeError(f"{cls.__name__}: a core defines step or scan, or both")

    @abc.abstractmethod
    def initial_state(self) -> State:
        """The empty memory: a NamedTuple of arrays of fixed shapes, floats in float32 or complex64."""

    @property
    def window(self) -> int | None:
        """How many tokens back an output can depend on; None: as far as the last start."""
        return None

    def step(self, state: State, x: Float[Array, " D"], start: Bool[ArrayLike, ""]) -> tuple[State, Float[Array, " D"]]:
        """Consume one token; unless overridden, as a segment of one. `True` and `False` will do for `start`."""
        state, ys = self.scan(state, x[None], jnp.asarray(start, bool)[None])
        return state, ys[0]

    def scan(
        self, state: State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[State, Float[Array, "T D"]]:
        """Consume a segment; equal to T times `step`, which it is unless overridden by a parallel form."""
        return jax.lax.scan(lambda carry, token: self.step(carry, *token), state, (xs, starts))

    def prepare(self, state: State) -> State:
        """Recompute whatever the state caches from the parameters; call it after every change of the parameters."""
        return state

    def attention(
        self, state: State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Float[Array, "H T J"], ...]:
        """What `scan` of this segment attends to: the weights of every layer of attention in it, bottom first.

        Per head and query token; the keys are the M cached tokens, then those of the segment, J = M + T. What a query
        cannot see has the weight 0. Empty: no part of this core attends.
        """
        return ()

    def eigenvalues(
        self, state: State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """Eigenvalues of dh_t / dh_{t-1} of every linear recurrence h in this core, bottom first, in this segment.

        T = 1 where they do not depend on the input. What several features share, and a conjugate pair of which half is
        stored, is given once. A start, which drops h, does not count. Empty: no part of this core is a recurrence that
        is linear in its state.
        """
        return ()
