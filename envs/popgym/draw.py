"""Draws one thing out of a few, where `jax.random.choice` would cost more than a step of the environment."""

import jax.numpy as jnp
from jaxtyping import Array, Int32, UInt32


def draw_index(bits: UInt32[Array, ""], counts: Int32[Array, " n"]) -> Int32[Array, ""]:
    """Index i with probability counts[i] / sum(counts), to within sum(counts) / 2³²; `bits` are uniform random bits."""
    last = jnp.cumsum(counts, dtype=jnp.int32)
    pick = (bits % last[-1].astype(jnp.uint32)).astype(jnp.int32)
    return jnp.sum(last <= pick, dtype=jnp.int32)
