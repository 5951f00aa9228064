"""Attention of every token to itself and to the M tokens before it; the attention cores share it.

A memory holds the last M inputs of a layer with their keys and values, newest last. Empty slots are
0. `lengths[t]` tokens before token t belong to its memory, so the key at distance d is visible if 0
<= d <= lengths[t].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from rlformers.cores.products import einsum, matmul, rounded

BLOCK = 32  # queries


class Memory(NamedTuple):
    """What a layer remembers. It keeps the inputs so that `refresh` can follow the parameters and train them."""

    mem: Float[Array, "M D"]  # inputs of the layer
    k: Float[Array, "M H d"]  # their keys ...
    v: Float[Array, "M H d"]  # ... and values
    valid: Int[Array, ""]  # how many slots are filled


def empty(M: int, D: int, H: int, d: int, dtype: jnp.dtype) -> Memory:
    """No slot is filled."""
    k, v = jnp.zeros((M, H, d), dtype), jnp.zeros((M, H, d), dtype)
    return Memory(jnp.zeros((M, D), dtype), k, v, jnp.zeros((), jnp.int32))


def forget(memory: Memory, start: Bool[ArrayLike, ""]) -> Memory:
    """The empty memory at a start, the same memory elsewhere."""
    return jax.tree.map(lambda old: jnp.where(start, jnp.zeros_like(old), old), memory)


def push(memory: Memory, e: Float[Array, " D"], k: Float[Array, "H d"], v: Float[Array, "H d"]) -> Memory:
    """The memory after one more token."""
    # Empty slots are 0 and stay 0 when all move by one. A ring buffer would not be cheaper:
    # emptying it at a start takes the same pass over the memory.
    pairs = (memory.mem, e), (memory.k, k), (memory.v, v)
    mem, k, v = (jnp.concatenate([old[1:], new[None]]) for old, new in pairs)
    return Memory(mem, k, v, jnp.minimum(len(mem), memory.valid + 1))


def extend(
    memory: Memory,
    es: Float[Array, "T D"],
    k: Float[Array, "T H d"],
    v: Float[Array, "T H d"],
    starts: Bool[Array, " T"],
) -> tuple[Memory, Float[Array, "J H d"], Float[Array, "J H d"], Int[Array, " T"]]:
    """The memory after T more tokens, then what `attend` takes: M + T keys, their values, and the lengths."""
    M = len(memory.mem)
    lengths, valid = memory_lengths(starts, memory.valid, M)
    k, v = jnp.concatenate([memory.k, k]), jnp.concatenate([memory.v, v])
    mem = keep(jnp.concatenate([memory.mem, es])[-M:], valid)
    return Memory(mem, keep(k[-M:], valid), keep(v[-M:], valid), valid), k, v, lengths


def refresh(memory: Memory, k: Float[Array, "M H d"], v: Float[Array, "M H d"]) -> Memory:
    """The memory with the keys and values that the present parameters give its inputs."""
    return Memory(memory.mem, keep(k, memory.valid), keep(v, memory.valid), memory.valid)


def memory_lengths(starts: Bool[Array, " T"], valid: Int[Array, ""], M: int) -> tuple[Int[Array, " T"], Int[Array, ""]]:
    """How many tokens each token remembers, and how many the cache holds after the last one.

    Args:
        starts: Where a new memory begins.
        valid: How many slots of the cache are filled before the first token.
        M: How many slots the cache has.
    """
    t = jnp.arange(len(starts))
    first = jax.lax.cummax(jnp.where(starts, t, -valid))
    return jnp.minimum(M, t - first).astype(valid.dtype), jnp.minimum(M, len(starts) - first[-1]).astype(valid.dtype)


def keep(cache: Shaped[Array, " M *d"], valid: Int[Array, ""]) -> Shaped[Array, " M *d"]:
    """The cache with all but its `valid` newest slots set to 0."""
    M = len(cache)
    filled = jnp.arange(M) >= M - valid
    return jnp.where(filled.reshape(M, *[1] * (cache.ndim - 1)), cache, 0)


class Positions(NamedTuple):
    """Queries for distances: the score of the key at distance d grows by q · r_d."""

    q: Float[Array, "*T H p"]
    r: Float[Array, "R H p"]  # for the distances M .. 0


def weigh(scores: Float[Array, "*batch"], axis: int, clip: float) -> Float[Array, "*batch"]:
    """Softmax p; with `clip` = γ, clip((1 + γ) p - γ, 0, 1), so weights can be 0 (Bondarenko et al. 2023)."""
    weights = jax.nn.softmax(scores, axis)
    return jnp.clip((1 + clip) * weights - clip, 0, 1) if clip else weights


def attend_one(
    q: Float[Array, "H d"],
    k: Float[Array, "H d"],
    v: Float[Array, "H d"],
    cached_k: Float[Array, "M H d"],
    cached_v: Float[Array, "M H d"],
    length: Int[Array, ""],
    positions: Positions | None = None,
    clip: float = 0.0,
) -> Float[Array, "H d"]:
    """Attention of one token. It only reads the cache: a copy with the new key would double the cost.

    Args:
        q: Query, already divided by √d.
        k: The token's own key.
        v: Its value.
        cached_k: Keys of the M tokens before it.
        cached_v: Their values.
        length: How many cached tokens are visible.
        positions: What distances add to the scores.
        clip: See `weigh`.
    """
    M = len(cached_k)
    cached, own = einsum("hd,mhd->mh", q, cached_k), (rounded(q) * rounded(k)).sum(-1)
    if positions is not None:
        cached += einsum("hp,mhp->mh", positions.q, positions.r[:-1])
        own += (rounded(positions.q) * rounded(positions.r[-1])).sum(-1)
    visible = jnp.arange(M + 1) >= M - length
    scores = jnp.where(visible[:, None], jnp.concatenate([cached, own[None]]), -1e30)
    weights = weigh(scores, 0, clip)
    return einsum("mh,mhd->hd", weights[:-1], cached_v) + rounded(weights[-1, :, None]) * rounded(v)


def attend(
    q: Float[Array, "T H d"],
    k: Float[Array, "J H d"],
    v: Float[Array, "J H d"],
    lengths: Int[Array, " T"],
    positions: Positions | None = None,
    clip: float = 0.0,
) -> Float[Array, "T H d"]:
    """Attention of T tokens; J = M + T keys, R = M + 1 distances. The cost is linear in T.

    Args:
        q: Queries, already divided by √d.
        k: Keys of the cache, then of the tokens.
        v: Their values.
        lengths: As `memory_lengths` gives them.
        positions: What distances add to the scores.
        clip: See `weigh`.
    """
    T, *heads = q.shape
    weights, v = _weights_by_block(q, k, v, lengths, positions, clip)
    return jnp.swapaxes(matmul(weights, v), 1, 2).reshape(-1, *heads)[:T]


def attention_weights(
    q: Float[Array, "T H d"],
    k: Float[Array, "J H d"],
    v: Float[Array, "J H d"],
    lengths: Int[Array, " T"],
    positions: Positions | None = None,
    clip: float = 0.0,
) -> Float[Array, "H T J"]:
    """The weights of `attend` for the same arguments: `attend` returns `einsum("htk,khd->thd", weights, v)`."""
    (T, *_), J = q.shape, len(k)
    blocks, _ = _weights_by_block(q, k, v, lengths, positions, clip)
    n, _, c, w = blocks.shape
    rows = [jnp.pad(block, ((0, 0), (0, 0), (i * c, (n - 1 - i) * c))) for i, block in enumerate(blocks)]
    before = w - c - (J - T)  # padding keys
    return jnp.concatenate(rows, axis=1)[:, :T, before : before + J]


def _weights_by_block(
    q: Float[Array, "T H d"],
    k: Float[Array, "J H d"],
    v: Float[Array, "J H d"],
    lengths: Int[Array, " T"],
    positions: Positions | None,
    clip: float,
) -> tuple[Float[Array, "n H c w"], Float[Array, "n H w d"]]:
    """The weights of n blocks of c queries, and the values that they weigh.

    Each block looks at its own keys and at those of the blocks that M reaches into.
    """
    T, M = len(q), len(k) - len(q)
    # A masked value has the weight 0, but 0 · NaN is NaN. So a NaN or infinity moves from the value
    # to its key: it does no harm there where it is masked, and shows elsewhere.
    k, v = jnp.where(jnp.isfinite(v), k, jnp.nan), jnp.where(jnp.isfinite(v), v, 0)
    c = min(T, BLOCK)
    before, after = (-M % c, -T % c) if c < T else (0, 0)
    M += before

    # Heads before tokens, so that every product below is one of plain matrices.
    def blocks(a: Float[Array, "T H p"]) -> Float[Array, "n H c p"]:
        return jnp.swapaxes(_pad(a, 0, after).reshape(-1, c, *a.shape[1:]), 1, 2)

    k, v = (jnp.swapaxes(_windows(_pad(a, before, after), M, c), 1, 2) for a in (k, v))
    scores = einsum("bhid,bhjd->bhij", blocks(q), k)
    if positions is not None:
        scores += shift(einsum("bhip,nhp->bhin", blocks(positions.q), _pad(positions.r, before, 0)))
    distance = M + np.arange(c)[:, None] - np.arange(M + c)
    visible = (distance >= 0) & (distance <= _pad(lengths, 0, after).reshape(-1, c, 1))
    return weigh(jnp.where(visible[:, None], scores, -1e30), -1, clip), v


def shift(scores: Float[Array, "*batch c R"]) -> Float[Array, "*batch c J"]:
    """From scores by distance M .. 0 to scores by key: row i moves to the columns i .. i + M of M + c.

    It pads every row by c zeros and reads the result in rows that are one shorter, without a gather
    (the trick of Dai et al. 2019, appendix B, for a window). Entries outside the window mean
    nothing.
    """
    *batch, c, R = scores.shape
    padded = jnp.pad(scores, [(0, 0)] * (len(batch) + 1) + [(0, c)])
    flat = padded.reshape(*batch, c * (R + c))[..., : c * (R - 1 + c)]
    return flat.reshape(*batch, c, R - 1 + c)


def _windows(a: Shaped[Array, " J *d"], M: int, c: int) -> Shaped[Array, "n w *d"]:
    """Overlapping windows of w = M + c rows that begin every c rows."""
    if len(a) == M + c:
        return a[None]
    blocks = a.reshape(-1, c, *a.shape[1:])
    last = len(blocks) - M // c
    return jnp.concatenate([blocks[i : i + last] for i in range(M // c + 1)], axis=1)


def _pad(a: Shaped[Array, " T *d"], before: int, after: int) -> Shaped[Array, " J *d"]:
    return jnp.pad(a, [(before, after)] + [(0, 0)] * (a.ndim - 1))
