"""Learned time steps dt = softplus(x + bias), for the selective state spaces."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rlformers.errors import UserError


def check_time_steps(dt_min: float, dt_max: float) -> None:
    """Check the options of the same names.

    Raises:
        UserError: Not 0 < dt_min <= dt_max.
    """
    if not 0 < dt_min <= dt_max < math.inf:
        raise UserError(f"core.dt_min: need 0 < dt_min <= dt_max, got {dt_min} and {dt_max}")


def time_step_bias(key: PRNGKeyArray, size: int, dt_min: float, dt_max: float) -> Float[Array, " {size}"]:
    """Biases whose softplus is log-uniform between dt_min and dt_max, for memories of many lengths side by side."""
    dt = jnp.exp(jax.random.uniform(key, (size,), minval=jnp.log(dt_min), maxval=jnp.log(dt_max)))
    return dt + jnp.log(-jnp.expm1(-dt))  # the inverse of softplus, exact for small dt
