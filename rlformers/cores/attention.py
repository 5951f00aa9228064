"""Attention of every token to itself and to the M tokens before it, what the attention cores share.

A cache holds the last M tokens, newest last; slots that hold none are 0. `lengths[t]` tokens before token t belong
to its memory, so the key at distance d is visible if 0 <= d <= lengths[t].
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

BLOCK = 32  # queries


def sinusoids(M: int, width: int) -> Float[np.ndarray, "N D"]:
    """Embeddings [sin(d ω), cos(d ω)], ω_i = 10000^(-2i/D), of the distances d = M .. 0 (Dai et al. 2019)."""
    frequencies = 10000.0 ** (-np.arange(0, width, 2) / width)
    angles = np.arange(M, -1, -1)[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width]


def memory_lengths(starts: Bool[Array, " T"], valid: Int[Array, ""], M: int) -> tuple[Int[Array, " T"], Int[Array, ""]]:
    """How many tokens each token remembers, and how many the cache holds after the last one.

    Args:
        starts: Where memory begins anew.
        valid: How many slots of the cache are filled before the first token.
        M: How many slots it has.
    """
    t = jnp.arange(len(starts))
    first = jax.lax.cummax(jnp.where(starts, t, -valid))
    return jnp.minimum(M, t - first).astype(valid.dtype), jnp.minimum(M, len(starts) - first[-1]).astype(valid.dtype)


def append(old: Shaped[Array, "M *d"], new: Shaped[Array, "T *d"], valid: Int[Array, ""]) -> Shaped[Array, "M *d"]:
    """The cache after T more tokens, of which and of the old ones the last `valid` are kept."""
    M = len(old)
    return keep(jnp.concatenate([old, new])[-M:], valid)


def keep(cache: Shaped[Array, "M *d"], valid: Int[Array, ""]) -> Shaped[Array, "M *d"]:
    """The cache with all but its `valid` newest slots set to 0."""
    M = len(cache)
    filled = jnp.arange(M) >= M - valid
    return jnp.where(filled.reshape(M, *[1] * (cache.ndim - 1)), cache, 0)


def attend_one(
    q: Float[Array, "H d"],
    q_position: Float[Array, "H d"],
    k: Float[Array, "H d"],
    v: Float[Array, "H d"],
    cached_k: Float[Array, "M H d"],
    cached_v: Float[Array, "M H d"],
    r: Float[Array, "N H d"],
    length: Int[Array, ""],
) -> Float[Array, "H d"]:
    """Attention of one token. The cache is only read: a copy of it with the new key would double the cost.

    Args:
        q: Query that meets the keys, already divided by √d.
        q_position: Query that meets the positions, likewise.
        k: The token's own key.
        v: Its value.
        cached_k: Keys of the M tokens before it.
        cached_v: Their values.
        r: Embedded distances M .. 0.
        length: How many cached tokens are visible.
    """
    M = len(cached_k)
    cached = jnp.einsum("hd,mhd->mh", q, cached_k) + jnp.einsum("hd,mhd->mh", q_position, r[:-1])
    own = (q * k + q_position * r[-1]).sum(-1)
    visible = jnp.arange(M + 1) >= M - length
    scores = jnp.where(visible[:, None], jnp.concatenate([cached, own[None]]), -1e30)
    weights = jax.nn.softmax(scores, axis=0)
    return jnp.einsum("mh,mhd->hd", weights[:-1], cached_v) + weights[-1, :, None] * v


def attend(
    q: Float[Array, "T H d"],
    q_position: Float[Array, "T H d"],
    k: Float[Array, "K H d"],
    v: Float[Array, "K H d"],
    r: Float[Array, "N H d"],
    lengths: Int[Array, " T"],
) -> Float[Array, "T H d"]:
    """Attention of T tokens; K = M + T keys, N = M + 1 distances. The cost is linear in T.

    Queries are taken in blocks of C; each block looks at the keys of itself and of the blocks that M reaches into.

    Args:
        q: Queries that meet the keys, already divided by √d.
        q_position: Queries that meet the positions, likewise.
        k: Keys of the cache, then of the tokens.
        v: Their values.
        r: Embedded distances M .. 0.
        lengths: As `memory_lengths` gives them.
    """
    T, M = len(q), len(r) - 1
    C = min(T, BLOCK)
    if T > C:
        before, after = -M % C, -T % C
        r, k, v = (_pad(r, before, 0), _pad(k, before, after), _pad(v, before, after))
        q, q_position, lengths = (_pad(a, 0, after) for a in (q, q_position, lengths))
        M += before
    q, q_position, lengths = (a.reshape(-1, C, *a.shape[1:]) for a in (q, q_position, lengths))
    # Heads before tokens: every product below is then one of plain matrices.
    q, q_position, k, v = (jnp.swapaxes(a, 1, 2) for a in (q, q_position, _windows(k, M, C), _windows(v, M, C)))

    scores = jnp.einsum("bhid,bhjd->bhij", q, k) + shift(jnp.einsum("bhid,nhd->bhin", q_position, r))
    distance = M + np.arange(C)[:, None] - np.arange(M + C)
    visible = (distance >= 0) & (distance <= lengths[..., None])
    weights = jax.nn.softmax(jnp.where(visible[:, None], scores, -1e30))
    return jnp.swapaxes(weights @ v, 1, 2).reshape(-1, *r.shape[1:])[:T]


def shift(scores: Float[Array, "*batch C N"]) -> Float[Array, "*batch C K"]:
    """From scores by distance M .. 0 to scores by key: row i moves to the columns i .. i + M of M + C.

    Padding every row by C zeros and reading the result in rows that are one shorter does this without a gather
    (the trick of Dai et al. 2019, appendix B, for a window). What is outside of the window is not meaningful.
    """
    *batch, C, N = scores.shape
    padded = jnp.pad(scores, [(0, 0)] * (len(batch) + 1) + [(0, C)])
    flat = padded.reshape(*batch, C * (N + C))[..., : C * (N - 1 + C)]
    return flat.reshape(*batch, C, N - 1 + C)


def _windows(a: Shaped[Array, "K *d"], M: int, C: int) -> Shaped[Array, "B W *d"]:
    """Overlapping windows of M + C rows that begin every C rows."""
    if len(a) == M + C:
        return a[None]
    blocks = a.reshape(-1, C, *a.shape[1:])
    last = len(blocks) - M // C
    return jnp.concatenate([blocks[i : i + last] for i in range(M // C + 1)], axis=1)


def _pad(a: Shaped[Array, "T *d"], before: int, after: int) -> Shaped[Array, "R *d"]:
    return jnp.pad(a, [(before, after)] + [(0, 0)] * (a.ndim - 1))
