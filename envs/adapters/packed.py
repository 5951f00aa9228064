"""Pytrees of different shapes in vectors of one: what `lax.switch` over simulators carries."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt32


def words(like: Any) -> int:
    """Words that `pack` needs for a tree of these shapes and dtypes."""
    return sum(_words(leaf) for leaf in jax.tree.leaves(like))


def pack(tree: Any, size: int) -> UInt32[Array, " size"]:
    """All leaves bit by bit, one after the other, and zeros up to `size`."""
    parts = [_to_words(leaf) for leaf in jax.tree.leaves(tree)]
    filled = jnp.concatenate([jnp.zeros(0, jnp.uint32), *parts])
    return jnp.pad(filled, (0, size - filled.size))


def unpack(vector: UInt32[Array, " size"], like: Any) -> Any:
    """The reverse of `pack`, for a tree of these shapes and dtypes; keys are of JAX's default kind."""
    leaves, at = [], 0
    for leaf in jax.tree.leaves(like):
        leaves.append(_from_words(vector[at : at + _words(leaf)], leaf))
        at += _words(leaf)
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _key_data(leaf: Any) -> Any:
    """Shape and dtype of a key's data."""
    return jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))


def _words(leaf: Any) -> int:
    return math.prod(_key_data(leaf).shape if _is_key(leaf) else leaf.shape)


def _to_words(leaf: Array) -> UInt32[Array, " n"]:
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    if leaf.dtype.itemsize == 4 and leaf.dtype != jnp.bool_:
        return jax.lax.bitcast_convert_type(leaf, jnp.uint32).ravel()
    return leaf.astype(jnp.uint32).ravel()


def _from_words(vector: UInt32[Array, " n"], like: Any) -> Array:
    if _is_key(like):
        return jax.random.wrap_key_data(vector.reshape(_key_data(like).shape))
    if like.dtype.itemsize == 4 and like.dtype != jnp.bool_:
        return jax.lax.bitcast_convert_type(vector, like.dtype).reshape(like.shape)
    return vector.astype(like.dtype).reshape(like.shape)
