"""Resettable recurrences of matrix memories, computed by products of matrices over chunks of c tokens.

    S_t = a_t S_{t-1} + k_t v_tᵀ        y_t = q_tᵀ S_t

with one memory S of K x V per head. Sums of log decays l = log a between two tokens of a chunk give
(Dao & Gu 2024)

    W_ts = exp(Σ_{s<r<=t} l_r)        y_t = W_t0 q_tᵀ S_0 + Σ_{s<=t} W_ts (q_t·k_s) v_s
    S_c = W_c0 S_0 + Σ_s W_cs k_s v_sᵀ

where S_0 is the memory carried into the chunk. Work is linear in T, and the backward pass keeps one
S per chunk. A pair of tokens with a start between them has the weight 0. Each s gets a sum of its
own, never a difference of two sums, which would keep the rounding of earlier memories. So the
tokens after a start give the same bits whatever came before.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlformers.cores.linear_scan import scan_chunks
from rlformers.cores.products import einsum, matmul
from rlformers.errors import UserError


def check_chunk(chunk: int) -> None:
    """Check the option of the same name.

    Raises:
        UserError: Less than one token.
    """
    if chunk < 1:
        raise UserError(f"core.chunk: need at least 1, got {chunk}")


def memory_scan(
    q: Float[Array, "T H K"],
    k: Float[Array, "T H K"],
    v: Float[Array, "T H V"],
    log_decays: Float[Array, "T H"],
    starts: Bool[Array, " T"],
    S: Float[Array, "H K V"],
    chunk: int,
) -> tuple[Float[Array, "H K V"], Float[Array, "T H V"]]:
    """The last memory, and what every token reads.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        log_decays: log a, at most 0.
        starts: Where to empty the memory before the token.
        S: Memory before the first token.
        chunk: c.
    """

    def advance(S: Array, tokens: tuple[Array, ...]) -> tuple[Array, Array]:
        q, k, v, log_decays, starts = tokens
        if len(starts) == 1:
            S, y = memory_step(q[0], k[0], v[0], jnp.exp(log_decays[0]), starts[0], S)
            return S, y[None]
        seen = visible(starts)
        return read_and_write(weights_of(decay_sums(log_decays), seen), seen, q, k, v, S)

    return scan_chunks(advance, S, (q, k, v, log_decays, starts), chunk)


def memory_step(
    q: Float[Array, "H K"],
    k: Float[Array, "H K"],
    v: Float[Array, "H V"],
    decay: Float[Array, " H"],
    start: Bool[Array, ""],
    S: Float[Array, "H K V"],
) -> tuple[Float[Array, "H K V"], Float[Array, "H V"]]:
    """`memory_scan` of one token, by the recurrence itself; `decay` is a, not its logarithm."""
    S = decay[:, None, None] * jnp.where(start, 0, S) + k[:, :, None] * v[:, None]
    return S, einsum("hk,hkv->hv", q, S)


def visible(starts: Bool[Array, " c"]) -> Bool[Array, "c w"]:
    """Which of the w = c + 1 sources token t sees: the carried memory (column 0), then the tokens of the chunk."""
    c = len(starts)
    memory = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(starts)])  # number of the memory of each source
    return (jnp.arange(c + 1) <= jnp.arange(1, c + 1)[:, None]) & (memory == memory[1:, None])


def decay_sums(log_decays: Float[Array, "c H"]) -> Float[Array, "H c w"]:
    """Σ_{s<r<=t} l_r from the sources of `visible` to the tokens; valid where the source is visible."""
    c = len(log_decays)
    after = jnp.arange(1, c + 1)[:, None] > jnp.arange(c + 1)
    return jnp.cumsum(jnp.where(after, log_decays.T[:, :, None], 0), axis=1)


def weights_of(log_weights: Float[Array, "H c w"], seen: Bool[Array, "c w"]) -> Float[Array, "H c w"]:
    """The exponentials of log weights, 0 where the source is not seen."""
    return jnp.where(seen, jnp.exp(log_weights), 0)


def read_and_write(
    weights: Float[Array, "H c w"],
    seen: Bool[Array, "c w"],
    q: Float[Array, "c H K"],
    k: Float[Array, "c H K"],
    v: Float[Array, "c H V"],
    S: Float[Array, "H K V"],
) -> tuple[Float[Array, "H K V"], Float[Array, "c H V"]]:
    """The memory after a chunk, and what its tokens read; a NaN among the weights fills the row of its memory."""
    # An unseen value has the weight 0, but 0 · NaN is NaN. In the key a NaN does no harm where it
    # is not seen.
    k, v = jnp.where(jnp.isfinite(v).all(-1, keepdims=True), k, jnp.nan), jnp.where(jnp.isfinite(v), v, 0)
    q, k, v = (jnp.swapaxes(a, 0, 1) for a in (q, k, v))  # heads first, for products of plain matrices
    scores = jnp.where(seen[:, 1:], weights[..., 1:] * matmul(q, jnp.swapaxes(k, 1, 2)), 0)
    ys = matmul(scores, v) + jnp.where(seen[:, :1], weights[..., :1] * matmul(q, S), 0)
    k = jnp.where(seen[-1, 1:, None], weights[:, -1, 1:, None] * k, 0)
    S = jnp.where(seen[-1, 0], weights[:, -1, :1, None] * S, 0) + matmul(jnp.swapaxes(k, 1, 2), v)
    return S, jnp.swapaxes(ys, 0, 1)
