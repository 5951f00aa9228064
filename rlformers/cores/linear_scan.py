"""Linear recurrences h_t = a_t h_{t-1} + b_t that start afresh where told, by four algorithms with equal results.

| method      | work    | depth   | for                                                                        |
|-------------|---------|---------|----------------------------------------------------------------------------|
| sequential  | T       | T       | CPUs                                                                       |
| associative | 2 T     | 2 log T | accelerators, elementwise decays                                           |
| doubling    | T log T | log T   | accelerators, matrices: it needs powers of A alone (Hillis & Steele 1986)  |
| chunked     | 2 T     | T / c   | long segments: the backward pass keeps one state per chunk of c tokens     |

A start drops the history with `where`, never by a product with 0, so a NaN or an infinity stays in its own episode.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact, PyTree

from rlformers.cores.products import transition
from rlformers.errors import UserError

METHODS = ("auto", "sequential", "associative", "doubling", "chunked")
MATRIX_METHODS = ("auto", "sequential", "doubling", "chunked")
FUSED_METHODS = ("auto", "sequential", "associative", "chunked")
CHUNK = 32  # c
# Tokens that a layer with many temporaries takes at once: segments of PPO's default length are taken whole, so nothing
# is computed twice; of longer ones the temporaries would leave the caches. Measured from 64 to 512 on CPUs.
PIECE = 128

Product = Callable[[Any, Array], Array]


def linear_scan(
    a: Inexact[Array, "..."],
    b: Inexact[Array, " T *P"],
    starts: Bool[Array, " T"],
    h: Inexact[Array, " *P"],
    method: str = "auto",
) -> tuple[Inexact[Array, " *P"], Inexact[Array, " T *P"]]:
    """Return the last state and all states of h_t = a_t ⊙ (0 if starts[t] else h_{t-1}) + b_t.

    Args:
        a: Decay (*P), one for all times, or (T, *P), one for each.
        b: Inputs.
        starts: Where the history is dropped before the input is added.
        h: State before the first input.
        method: One of `METHODS`; "auto" picks by backend.
    """
    if method == "auto":
        method = "sequential" if jax.default_backend() == "cpu" else "associative"
    if method == "associative":
        return _associative(a, b, starts, h)
    return _scan(a, b, starts, h, method, jnp.multiply, inner=_associative)


def matrix_scan(
    A: Inexact[Array | np.ndarray, "*C N N"],
    b: Inexact[Array, "T *P N"],
    starts: Bool[Array, " T"],
    h: Inexact[Array, "*P N"],
    method: str = "auto",
) -> tuple[Inexact[Array, "*P N"], Inexact[Array, "T *P N"]]:
    """Return the last state and all states of h_t = A (0 if starts[t] else h_{t-1}) + b_t.

    Args:
        A: Matrix, the same at all times; its leading axes broadcast against those of the state. Of a constant, given
            in NumPy's float64, powers are taken in float64 and rounded once.
        b: Inputs.
        starts: Where the history is dropped before the input is added.
        h: State before the first input.
        method: One of `MATRIX_METHODS`; "auto" picks by backend.
    """
    if method == "auto":
        method = "sequential" if jax.default_backend() == "cpu" else "doubling"
    return _scan(A, b, starts, h, method, transition, inner=None)


def fused_scan(
    element: Callable[[Any], tuple[Array, Array]],
    read: Callable[[Array, Any], Array],
    tokens: PyTree,
    starts: Bool[Array, " T"],
    h: Inexact[Array, " *P"],
    method: str = "auto",
) -> tuple[Inexact[Array, " *P"], Inexact[Array, " T *out"]]:
    """Return the last state and what is read of every state of h_t = a_t ⊙ (0 if starts[t] else h_{t-1}) + b_t.

    For states much larger than the tokens: decays, inputs and states are made where they are used, and the backward
    pass keeps one state per chunk and makes them again.

    Args:
        element: From a token to a_t and b_t.
        read: From a state and its token to the output.
        tokens: Arrays whose first axis is time.
        starts: Where the history is dropped before the token is consumed.
        h: State before the first token.
        method: One of `FUSED_METHODS`; "auto" picks by backend.
    """

    def advance(h: Array, token: Any) -> tuple[Array, Array]:
        a, b = element(token[0])
        h = a * jnp.where(token[1], jnp.zeros_like(h), h) + b
        return h, read(h, token[0])

    def sequential(h: Array, chunk: Any) -> tuple[Array, Array]:
        return jax.lax.scan(advance, h, chunk)

    def associative(h: Array, chunk: Any) -> tuple[Array, Array]:
        h, hs = _associative(*jax.vmap(element)(chunk[0]), chunk[1], h)
        return h, jax.vmap(read)(hs, chunk[0])

    if method == "auto":
        method = "sequential" if jax.default_backend() == "cpu" else "chunked"
    match method:
        case "sequential":
            return scan_chunks(sequential, h, (tokens, starts))
        case "associative":
            return associative(h, (tokens, starts))
        case "chunked":
            return scan_chunks(associative, h, (tokens, starts))
    raise UserError(f"unknown method {method!r}")


def scan_chunks(
    f: Callable[[Any, Any], tuple[Any, Any]], state: PyTree, xs: PyTree, chunk: int = CHUNK
) -> tuple[PyTree, PyTree]:
    """`f` over consecutive chunks of the segment `xs`; the backward pass keeps the states between them.

    What else it needs it computes again, chunk by chunk. A segment of one chunk is taken as if `f` were called.

    Args:
        f: From a state and a segment of any length to the next state and the outputs of the segment.
        state: Before the first token.
        xs: Arrays whose first axis is time.
        chunk: Tokens per chunk; what is left over makes a shorter one.
    """
    T = len(jax.tree.leaves(xs)[0])
    if chunk >= T:
        return f(state, xs)
    f = jax.checkpoint(partial(f))  # jax hashes functions, and methods of modules have no hash
    whole = T - T % chunk
    chunks = jax.tree.map(lambda x: x[:whole].reshape(-1, chunk, *x.shape[1:]), xs)
    state, ys = jax.lax.scan(f, state, chunks)
    ys = jax.tree.map(lambda y: y.reshape(whole, *y.shape[2:]), ys)
    if whole == T:
        return state, ys
    state, rest = f(state, jax.tree.map(lambda x: x[whole:], xs))
    return state, jax.tree.map(lambda y, z: jnp.concatenate([y, z]), ys, rest)


def _scan(
    a: Array | np.ndarray,
    b: Array,
    starts: Array,
    h: Array,
    method: str,
    product: Product,
    inner: Callable[..., Any] | None,
) -> tuple[Array, Array]:
    """The algorithms that ask for nothing but `product`; it multiplies a decay by a state or by a decay."""
    varying = product is jnp.multiply and a.ndim == b.ndim
    match method:
        case "sequential":

            def advance(h: Array, token: Any) -> tuple[Array, Array]:
                a_t, b_t, start = token if varying else (a, *token)
                h = jnp.where(start, b_t, product(a_t, h) + b_t)
                return h, h

            return jax.lax.scan(advance, h, (a, b, starts) if varying else (b, starts))
        case "doubling":
            return _doubling(a, b, starts, h, product, varying)
        case "chunked":
            algorithm: Callable[..., Any] = inner or partial(_doubling, product=product, varying=False)

            def f(h: Array, tokens: Any) -> tuple[Array, Array]:
                return algorithm(*(tokens if varying else (a, *tokens)), h)

            return scan_chunks(f, h, (a, b, starts) if varying else (b, starts))
    raise UserError(f"unknown method {method!r}")


def _doubling(a: Any, b: Array, starts: Array, h: Array, product: Product, varying: bool) -> tuple[Array, Array]:
    """After level l, b_t is the state that the last 2^l inputs of its episode have left."""
    T = len(b)
    b = b.at[0].set(jnp.where(starts[0], b[0], product(a[0] if varying else a, h) + b[0]))
    blocked = starts.at[0].set(True)  # whether the inputs summed so far reach back to the beginning of the memory
    distance = 1
    while distance < T:
        old = product(a[distance:] if varying else a, b[:-distance])
        mask = blocked[distance:].reshape(-1, *[1] * (b.ndim - 1))
        b = b.at[distance:].set(jnp.where(mask, b[distance:], b[distance:] + old))
        blocked = blocked.at[distance:].set(blocked[distance:] | blocked[:-distance])
        if varying:
            a = jnp.asarray(a).at[distance:].multiply(a[:-distance])
        else:
            a = a * a if product is jnp.multiply else a @ a
        distance *= 2
    return b[-1], b


def _associative(a: Array, b: Array, starts: Array, h: Array) -> tuple[Array, Array]:
    mask = starts.reshape(starts.shape + (1,) * h.ndim)
    b = b.at[0].set(jnp.where(starts[0], b[0], (a[0] if a.ndim == b.ndim else a) * h + b[0]))
    decays = jnp.where(mask, jnp.zeros_like(b), a)
    _, states, _ = jax.lax.associative_scan(_compose, (decays, b, jnp.broadcast_to(mask, b.shape)))
    return states[-1], states


def _compose(first: tuple[Array, Array, Array], second: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """The affine map `second` after `first`; a map that contains a start decays by 0 and ignores what comes before.

    What is ignored is replaced before it is multiplied. To choose between b_2 and the sum leaves it to the compiler
    in which of several versions of the loop, chosen by the starts, it rounds the product by itself.
    """
    a_1, b_1, start_1 = first
    a_2, b_2, start_2 = second
    a_1, b_1 = (jnp.where(start_2, jnp.zeros_like(x), x) for x in (a_1, b_1))
    return a_1 * a_2, a_2 * b_1 + b_2, start_1 | start_2
