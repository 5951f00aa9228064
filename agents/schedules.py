"""Schedules: factors of the learning rate and the entropy coefficient, never below 0."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


def linear_decay(update: ArrayLike, num_updates: ArrayLike) -> Float[Array, ""]:
    """Falls from 1 at update 0 to 0 at `num_updates`, and stays 0."""
    return jnp.maximum(1 - jnp.asarray(update) / num_updates, 0.0)


def linear_warmup(update: ArrayLike, warmup: ArrayLike, num_updates: ArrayLike) -> Float[Array, ""]:
    """(update + 1) / (warmup num_updates), at most 1. The first update learns too.

    Args:
        update: The number of updates before this one.
        warmup: The fraction of the training that warms up; 0 means a factor of 1 from the start.
        num_updates: The number of updates of the training.
    """
    return jnp.minimum((jnp.asarray(update) + 1) / jnp.maximum(jnp.asarray(warmup) * num_updates, 1.0), 1.0)
