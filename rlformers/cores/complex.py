"""Complex parameters and products, made of real ones."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from rlformers.cores.products import matmul


def real_pair(z: Any) -> Array:
    """Complex numbers as a last axis (re, im), so that optimisers and checkpoints see ordinary real arrays."""
    return jnp.stack([z.real, z.imag], axis=-1)


def complex_product(us: Float[Array, "T D"], B: Complex[Array, "P D"]) -> Complex[Array, "T P"]:
    """u Bᵀ as one real product with (Re B, Im B); on CPUs, complex GEMMs are several times slower than real ones."""
    re, im = jnp.split(matmul(us, jnp.concatenate([B.real, B.imag]).T), 2, axis=-1)
    return jax.lax.complex(re, im)


def real_product(h: Complex[Array, "T P"], C: Float[Array, "D P 2"]) -> Float[Array, "T D"]:
    """Re(h Cᵀ) as one real product with (Re h, Im h); C is a real pair."""
    parts = jnp.concatenate([h.real, h.imag], axis=-1)
    return matmul(parts, jnp.concatenate([C[..., 0], -C[..., 1]], axis=1).T)
