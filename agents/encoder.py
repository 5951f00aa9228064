"""From an observation to the first token: vectors through a linear layer, images through a small CNN."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rlformers.cores.layers import Linear, orthogonal
from rlformers.cores.products import conv


class Conv(eqx.Module):
    """3x3 convolution with stride 2 and ReLU on images [..., H, W, C]."""

    weight: Float[Array, "3 3 i o"]
    bias: Float[Array, " o"]

    def __init__(self, in_channels: int, out_channels: int, *, key: PRNGKeyArray):
        flat = orthogonal(2**0.5)(key, (9 * in_channels, out_channels))
        self.weight = flat.reshape(3, 3, in_channels, out_channels)
        self.bias = jnp.zeros(out_channels)

    def __call__(self, x: Float[Array, "N H W i"]) -> Float[Array, "N h w o"]:
        """Apply to a batch."""
        return jax.nn.relu(conv(x, self.weight, stride=2) + self.bias)


class Encoder(eqx.Module):
    """relu(W [vectors, CNN(images)] + b) over all leaves of a pytree of vectors [n] and images [H, W, C]."""

    convs: tuple[tuple[Conv, ...], ...]  # one tower per image
    linear: Linear

    def __init__(self, obs: Any, width: int, *, key: PRNGKeyArray):
        key_linear, key_convs = jax.random.split(key)
        towers, num_features = [], 0
        for i, leaf in enumerate(jax.tree.leaves(obs)):
            if leaf.ndim not in (1, 3):
                raise ValueError(f"env: observations are vectors or images, got an array of shape {leaf.shape}")
            if leaf.ndim == 1:
                num_features += leaf.shape[0]
                continue
            height, wide, channels = leaf.shape
            tower: list[Conv] = []
            while max(height, wide) > 5:  # halve until at most 5 x 5 cells are left
                out = 16 if not tower else 32
                tower.append(Conv(channels, out, key=jax.random.fold_in(key_convs, 100 * i + len(tower))))
                height, wide, channels = -(-height // 2), -(-wide // 2), out
            towers.append(tuple(tower))
            num_features += height * wide * channels
        self.convs = tuple(towers)
        self.linear = Linear(num_features, width, key=key_linear, init=orthogonal(2**0.5))

    def __call__(self, obs: Any, num_leading: int = 0) -> Float[Array, "*T D"]:
        """Encode observations with `num_leading` leading axes."""
        towers = iter(self.convs)
        features = []
        for leaf in jax.tree.leaves(obs):
            lead = leaf.shape[:num_leading]
            x = leaf.astype(jnp.float32) / (255 if leaf.dtype == jnp.uint8 else 1)
            if leaf.ndim - num_leading == 3:
                x = x.reshape(-1, *leaf.shape[num_leading:])
                for conv in next(towers):
                    x = conv(x)
            features.append(x.reshape(*lead, -1))
        return jax.nn.relu(self.linear(jnp.concatenate(features, axis=-1)))
