"""What changes over a training: factors of the learning rate and the entropy coefficient, never below 0."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


def linear_decay(update: ArrayLike, num_updates: ArrayLike) -> Float[Array, ""]:
    """From 1 at update 0 to 0 at `num_updates`, and 0 after it."""
    return jnp.maximum(1 - jnp.asarray(update) / num_updates, 0.0)


def linear_warmup(update: ArrayLike, warmup: ArrayLike, num_updates: ArrayLike) -> Float[Array, ""]:
    """(update + 1) / (warmup num_updates), at most 1: the first update learns, too.

    Args:
        update: The number of updates before this one.
        warmup: The part of the training that it takes; 0: the factor is 1 from the beginning.
        num_updates: Of the training.
    """
    return jnp.minimum((jnp.asarray(update) + 1) / jnp.maximum(jnp.asarray(warmup) * num_updates, 1.0), 1.0)
