"""A parameter between bounds whose gradient does not die there."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def bounded(x: Float[Array, "*A"], low: float, high: float) -> Float[Array, "*A"]:
    """clip(x, low, high), with the gradient of a loss that is to be minimised.

    The gradient g moves x by -g. At a bound and beyond, it passes where that leads inwards, and is 0 where it leads
    outwards: that of a plain clip is 0 either way, so that a parameter once outside would never come back.
    """
    return jnp.clip(x, low, high)


def _forward(x: Float[Array, "*A"], low: float, high: float) -> tuple[Float[Array, "*A"], Float[Array, "*A"]]:
    return jnp.clip(x, low, high), x


def _backward(low: float, high: float, x: Float[Array, "*A"], g: Float[Array, "*A"]) -> tuple[Float[Array, "*A"]]:
    outwards = ((x >= high) & (g < 0)) | ((x <= low) & (g > 0))
    return (jnp.where(outwards, 0.0, g),)


bounded.defvjp(_forward, _backward)
