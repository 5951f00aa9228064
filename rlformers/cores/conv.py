"""Causal convolutions over time that carry their last inputs and do not look across starts.

The buffer holds the k = K - 1 inputs before the present one, oldest first. Inputs of earlier
memories are 0.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rlformers.cores.products import matmul


def windows(
    buffer: Float[Array, "k C"], xs: Float[Array, "T C"], starts: Bool[Array, " T"]
) -> tuple[Float[Array, "k C"], Float[Array, "T K C"]]:
    """The next buffer, and the last K = k + 1 inputs at every token, 0 where they precede the token's memory."""
    T, reach = len(xs), len(buffer)
    inputs = jnp.concatenate([buffer, xs])
    memory = jnp.cumsum(jnp.concatenate([jnp.zeros(reach, bool), starts]))  # number of the memory of each input
    taps = [jnp.where((memory[k : k + T] == memory[reach:])[:, None], inputs[k : k + T], 0) for k in range(reach + 1)]
    buffer = jnp.where((memory[T:] == memory[-1])[:, None], inputs[T:], 0)
    return buffer, jnp.stack(taps, axis=1)


def depthwise_conv(
    buffer: Float[Array, "k C"],
    xs: Float[Array, "T C"],
    starts: Bool[Array, " T"],
    weight: Float[Array, "K C"],
    bias: Float[Array, " C"] | None = None,
) -> tuple[Float[Array, "k C"], Float[Array, "T C"]]:
    """y_t = bias + Σ_k weight_k ⊙ x_{t-(K-1)+k}, each channel by itself."""
    buffer, taps = windows(buffer, xs, starts)
    ys = (taps * weight).sum(1)
    return buffer, ys if bias is None else ys + bias


def dense_conv(
    buffer: Float[Array, "k C"],
    xs: Float[Array, "T C"],
    starts: Bool[Array, " T"],
    weight: Float[Array, "K C o"],
) -> tuple[Float[Array, "k C"], Float[Array, "T o"]]:
    """y_t = Σ_k x_{t-(K-1)+k} weight_k, all channels together."""
    buffer, taps = windows(buffer, xs, starts)
    return buffer, matmul(taps.reshape(len(xs), -1), weight.reshape(-1, weight.shape[-1]))


class DepthwiseConv(eqx.Module):
    """`depthwise_conv` with its parameters, uniform within ±1/√K as in torch."""

    weight: Float[Array, "K C"]
    bias: Float[Array, " C"] | None

    def __init__(self, channels: int, size: int, *, key: PRNGKeyArray, use_bias: bool = True):
        parameters = jax.random.uniform(key, (size + 1, channels), minval=-(size**-0.5), maxval=size**-0.5)
        self.weight, self.bias = parameters[:size], parameters[size] if use_bias else None

    def empty(self) -> Float[Array, "k C"]:
        """The buffer before the first input."""
        return jnp.zeros_like(self.weight[1:])

    def __call__(
        self, buffer: Float[Array, "k C"], xs: Float[Array, "T C"], starts: Bool[Array, " T"]
    ) -> tuple[Float[Array, "k C"], Float[Array, "T C"]]:
        """The next buffer and the outputs."""
        return depthwise_conv(buffer, xs, starts, self.weight, self.bias)
