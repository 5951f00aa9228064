"""Resettable linear recurrences h_t = a_t h_{t-1} + b_t by four algorithms with equal results.

| method      | work    | depth   | for                                                                        |
|-------------|---------|---------|----------------------------------------------------------------------------|
| sequential  | T       | T       | CPUs                                                                       |
| associative | 2 T     | 2 log T | accelerators, elementwise decays                                           |
| doubling    | T log T | log T   | accelerators, matrices: it needs only powers of A (Hillis & Steele 1986)   |
| chunked     | 2 T     | T / c   | long segments: the backward pass keeps one state per chunk of c tokens     |

A start drops the history with `where`, never with a product by 0, so a NaN or infinity stays in its
own episode.
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
# Tokens that a layer with many temporaries computes at once. A segment of PPO's default length
# stays whole, so nothing is computed twice. The temporaries of longer ones would not fit the
# caches. Measured from 64 to 512 on CPUs.
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
        starts: Where to drop the history before adding the input.
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
        A: Matrix, the same at all times; its leading axes broadcast against the state's. If it is a
            constant in NumPy's float64, its powers are computed in float64 and rounded once.
        b: Inputs.
        starts: Where to drop the history before adding the input.
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
    """Return the last state and `read` of every state of h_t = a_t ⊙ (0 if starts[t] else h_{t-1}) + b_t.

    This is for states much larger than the tokens. It makes decays, inputs and states where it uses
    them, and the backward pass keeps one state per chunk and makes them again.

    Args:
        element: From a token to a_t and b_t.
        read: From a state and its token to the output.
        tokens: Arrays whose first axis is time.
        starts: Where to drop the history before the token.
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

    The backward pass recomputes everything else, chunk by chunk. A segment of one chunk is one call
    of `f`.

    Args:
        f: From a state and a segment of any length to the next state and the outputs of the
            segment.
        state: Before the first token.
        xs: Arrays whose first axis is time.
        chunk: Tokens per chunk; the last one can be shorter.
    """
    T = len(jax.tree.leaves(xs)[0])
    if chunk >= T:
        return f(state, xs)
    f = jax.checkpoint(partial(f))  # jax hashes the function, and methods of modules have no hash
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
    """The algorithms that need only `product`, which multiplies a decay by a state or a decay."""
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
    """After level l, b_t is the state from the last 2^l inputs of its episode."""
    T = len(b)
    b = b.at[0].set(jnp.where(starts[0], b[0], product(a[0] if varying else a, h) + b[0]))
    blocked = starts.at[0].set(True)  # whether the sum reaches back to the start of the memory
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

    It replaces what it ignores before it multiplies. If it chose between b_2 and the sum
    afterwards, the compiler could make several versions of the loop, chosen by the starts, and
    round the product by itself in only some.
    """
    a_1, b_1, start_1 = first
    a_2, b_2, start_2 = second
    a_1, b_1 = (jnp.where(start_2, jnp.zeros_like(x), x) for x in (a_1, b_1))
    return a_1 * a_2, a_2 * b_1 + b_2, start_1 | start_2
