"""Integers that are symbols: what a product of their one-hots with a matrix is, without the one-hots."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from rlformers.cores.products import matmul, rounded


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def sum_of_rows(
    weight: Float[Array, "F D"], symbols: Integer[Array, "*T k"], sizes: tuple[int, ...]
) -> Float[Array, "*T D"]:
    """`one_hots(symbols, sizes) @ weight` by k rows that are looked up; F is the sum of the sizes.

    The derivative is that of the product. Adding to rows that are looked up would be slow on CPUs, and on GPUs the
    order of the sum, and so its last digit, would change from run to run.
    """
    sizes_, starts = jnp.array(sizes), np.cumsum((0, *sizes))
    symbols = symbols.astype(jnp.int32)
    # Beyond the last row, where a lookup gives 0, as a one-hot of what is out of its range does.
    rows = jnp.where((symbols >= 0) & (symbols < sizes_), symbols + starts[:-1], starts[-1])
    table, total = rounded(weight), jnp.zeros((*symbols.shape[:-1], weight.shape[1]), weight.dtype)
    for i in range(len(sizes)):  # one loop of the compiler's; all rows at once would be an array [*T, k, D]
        total = total + table.at[rows[..., i]].get(mode="fill", fill_value=0.0)
    return total


@sum_of_rows.defjvp
def _derivative(sizes: tuple[int, ...], primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    weight, symbols = primals
    return sum_of_rows(weight, symbols, sizes), matmul(one_hots(symbols, sizes), tangents[0])


def one_hots(symbols: Integer[Array, "*T k"], sizes: tuple[int, ...]) -> Float[Array, "*T F"]:
    """One-hot vectors of k symbols, the i-th of which has sizes[i] values, one after the other."""
    which = np.repeat(np.arange(len(sizes)), sizes)
    value = np.concatenate([np.arange(n) for n in sizes])
    return (symbols.astype(jnp.int32)[..., which] == value).astype(jnp.float32)


def joined(obs: Any) -> Any:
    """One observation (no leading axes) in which a tuple of vectors is one vector, as `Flatten` alone shows it."""

    def is_divided(part: Any) -> bool:
        return type(part) is tuple and bool(part) and all(jnp.ndim(x) == 1 for x in jax.tree.leaves(part))

    return jax.tree.map(lambda x: jnp.concatenate(x) if is_divided(x) else x, obs, is_leaf=is_divided)
