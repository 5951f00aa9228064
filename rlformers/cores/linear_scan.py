"""Linear recurrences h_t = a_t ⊙ h_{t-1} + b_t that start afresh where told, by two algorithms with equal results.

A start drops the history with `where`, never by a product with 0, so a NaN or an infinity stays in its own episode.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

METHODS = ("auto", "sequential", "associative")


def linear_scan(
    a: Inexact[Array, " *P"],
    b: Inexact[Array, "T *P"],
    starts: Bool[Array, " T"],
    h: Inexact[Array, " *P"],
    method: str = "auto",
) -> tuple[Inexact[Array, " *P"], Inexact[Array, "T *P"]]:
    """Return the last state and all states of h_t = a ⊙ (0 if starts[t] else h_{t-1}) + b_t.

    Args:
        a: Decay, the same at all times.
        b: Inputs.
        starts: Where the history is dropped before the input is added.
        h: State before the first input.
        method: "sequential" (T steps of `lax.scan`: fastest on CPUs), "associative" (log T steps of
            `lax.associative_scan`: for accelerators), or "auto", which picks by backend.
    """
    if method == "auto":
        method = "sequential" if jax.default_backend() == "cpu" else "associative"
    if method == "sequential":
        return jax.lax.scan(lambda carry, token: _advance(a, carry, *token), h, (b, starts))

    mask = starts.reshape(starts.shape + (1,) * a.ndim)
    b = b.at[0].set(jnp.where(starts[0], b[0], a * h + b[0]))
    decays = jnp.broadcast_to(a, b.shape)
    _, states, _ = jax.lax.associative_scan(_compose, (decays, b, jnp.broadcast_to(mask, b.shape)))
    return states[-1], states


def _advance(a: Array, h: Array, b: Array, start: Array) -> tuple[Array, Array]:
    h = jnp.where(start, b, a * h + b)
    return h, h


def _compose(first: tuple[Array, Array, Array], second: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """The affine map `second` after `first`; a map that contains a start ignores what it is applied to."""
    a_1, b_1, start_1 = first
    a_2, b_2, start_2 = second
    return a_1 * a_2, jnp.where(start_2, b_2, a_2 * b_1 + b_2), start_1 | start_2
