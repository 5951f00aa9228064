"""Pytrees of different shapes as vectors of one: what `lax.switch` over simulators carries."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32


class Packed(NamedTuple):
    """The leaves of a tree, one after the other, and zeros. Numbers stay numbers, so that rounding can be told."""

    floats: Float[Array, " F"]
    words: UInt32[Array, " W"]  # what is no floating-point number, bit by bit


def lengths(like: Any) -> tuple[int, int]:
    """F and W that `pack` needs for a tree of these shapes and dtypes."""
    leaves = jax.tree.leaves(like)
    floats = sum(math.prod(leaf.shape) for leaf in leaves if _is_float(leaf))
    return floats, sum(math.prod(_words_like(leaf).shape) for leaf in leaves if not _is_float(leaf))


def pack(tree: Any, num_floats: int, num_words: int) -> Packed:
    """All leaves, filled up with zeros; floating-point numbers are as wide as JAX's default."""
    leaves = jax.tree.leaves(tree)
    floats = [leaf.ravel().astype(float) for leaf in leaves if _is_float(leaf)]
    words = [_to_words(leaf).ravel() for leaf in leaves if not _is_float(leaf)]
    return Packed(
        _fill([jnp.zeros(0, float), *floats], num_floats), _fill([jnp.zeros(0, jnp.uint32), *words], num_words)
    )


def unpack(packed: Packed, like: Any) -> Any:
    """The reverse of `pack`, for a tree of these shapes and dtypes; keys are of JAX's default kind."""
    leaves, at_float, at_word = [], 0, 0
    for leaf in jax.tree.leaves(like):
        if _is_float(leaf):
            size = math.prod(leaf.shape)
            leaves.append(packed.floats[at_float : at_float + size].reshape(leaf.shape).astype(leaf.dtype))
            at_float += size
        else:
            shape = _words_like(leaf).shape
            leaves.append(_from_words(packed.words[at_word : at_word + math.prod(shape)].reshape(shape), leaf))
            at_word += math.prod(shape)
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _fill(parts: list[Array], size: int) -> Array:
    filled = jnp.concatenate(parts)
    return jnp.pad(filled, (0, size - filled.size))


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _is_wide(leaf: Any) -> bool:
    """Integers of one word, or of two, which `bitcast_convert_type` puts on a last axis."""
    return leaf.dtype != jnp.bool_ and leaf.dtype.itemsize >= 4


def _words_like(leaf: Any) -> Any:
    """Shape and dtype of a leaf's words."""
    return jax.eval_shape(_to_words, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))


def _to_words(leaf: Array) -> UInt32[Array, "..."]:
    if _is_key(leaf):
        return jax.random.key_data(leaf)
    return jax.lax.bitcast_convert_type(leaf, jnp.uint32) if _is_wide(leaf) else leaf.astype(jnp.uint32)


def _from_words(words: UInt32[Array, "..."], like: Any) -> Array:
    if _is_key(like):
        return jax.random.wrap_key_data(words)
    return jax.lax.bitcast_convert_type(words, like.dtype) if _is_wide(like) else words.astype(like.dtype)
