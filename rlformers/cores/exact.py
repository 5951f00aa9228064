"""Sums that are the same to the last bit for every batch size, for cores with thresholds.

XLA's sums and matrix products on CPUs round differently for different numbers of rows. Now and then
a spike would flip between acting in all environments and learning from a minibatch, and move a
probability by 1e-4.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rlformers.cores.products import matmul, rounded

BLOCK = 512


def total(x: Float[Array, " i *rest"]) -> Float[Array, "*rest"]:
    """Sum over the first axis by halves. Explicit additions have one order, whatever the batch."""
    while (n := len(x)) > 1:
        half = n // 2
        x = jnp.concatenate([x[:half] + x[half : 2 * half], x[2 * half :]])
    return x[0]


@jax.custom_jvp
def product(x: Float[Array, " i"], weight: Float[Array, "i o"]) -> Float[Array, " o"]:
    """`x @ weight` by `total`, for inputs that are not spikes."""
    return total(x[:, None] * weight)


@jax.custom_jvp
def select(s: Float[Array, " i"], weight: Float[Array, "i o"]) -> Float[Array, " o"]:
    """`s @ weight` of spikes s: sums of weights, which are exact and hence the same in every order.

    Each weight is the sum of two numbers on coarse grids; in float32 these are 2^-12 and 2^-28. A
    sum of up to 512 such numbers fits into the bits of a float as long as it is below 4096. With
    more weights, `total` adds the sums of blocks of 512.
    """
    weight = rounded(weight)
    eps = jnp.finfo(weight.dtype).eps
    coarse, fine = eps * 2**11, eps**2 * 2**18
    high = jnp.round(weight / coarse) * coarse
    low = jnp.round((weight - high) / fine) * fine
    both, sums = jnp.concatenate([high, low], axis=1), []
    for i in range(0, len(s), BLOCK):
        high, low = jnp.split(matmul(s[i : i + BLOCK], both[i : i + BLOCK]), 2)
        sums.append(high + low)
    return total(jnp.stack(sums))


def _tangent(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Array:
    return matmul(tangents[0], primals[1]) + matmul(primals[0], tangents[1])


product.defjvp(lambda primals, tangents: (product(*primals), _tangent(primals, tangents)))
select.defjvp(lambda primals, tangents: (select(*primals), _tangent(primals, tangents)))
