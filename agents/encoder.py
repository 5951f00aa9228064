"""From an observation to the first token: vectors through dense layers, images through a small CNN before them."""

import functools
import operator
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rlformers.agents.activations import ACTIVATIONS
from rlformers.agents.scales import Scale, scale_of
from rlformers.agents.symbols import one_hots, sum_of_rows
from rlformers.cores.layers import Linear, orthogonal
from rlformers.cores.products import conv, matmul
from rlformers.errors import UserError


class Conv(eqx.Module):
    """3x3 convolution with stride 2 on images [..., H, W, C]."""

    weight: Float[Array, "3 3 i o"]
    bias: Float[Array, " o"]

    def __init__(self, in_channels: int, out_channels: int, *, key: PRNGKeyArray):
        flat = orthogonal(2**0.5)(key, (9 * in_channels, out_channels))
        self.weight = flat.reshape(3, 3, in_channels, out_channels)
        self.bias = jnp.zeros(out_channels)

    def __call__(self, x: Float[Array, "N rows columns i"]) -> Float[Array, "N _ _ o"]:
        """Apply to a batch."""
        return conv(x, self.weight, stride=2) + self.bias


class Encoder(eqx.Module):
    """f(W [vectors, CNN(images)] + b) over all leaves of a pytree of vectors [n] and images [H, W, C].

    More layers f(W x + b) may follow; f is applied after each of them and after each convolution. What has bounds is
    scaled by them first, see `scales.scale_of`.

    Integers that are symbols are read as their one-hots, whose product with W is the sum of the rows of W that they
    name. What `as_numbers` makes of an observation is read alike: with floats [F] for the one-hots themselves, which
    can be normalised, and with respect to which one can differentiate.

    Args:
        obs: An observation, of arrays or `jax.ShapeDtypeStruct`s.
        width: D.
        key: For the initial parameters.
        num_layers: Dense layers.
        activation: f.
        bounds: The lower and the upper bounds of all leaves, two pytrees like `obs`. None: unknown.
        symbols: For each leaf, how many values each of its entries has, if they are symbols (vectors of integers from 0
            on), else (), as `spaces.symbol_sizes` lists them. None: there are no symbols.

    Raises:
        UserError: A leaf is neither a vector nor an image, or there is none.
    """

    convs: tuple[tuple[Conv, ...], ...]  # one tower per image
    layers: tuple[Linear, ...]
    activation: str = eqx.field(static=True)
    scales: tuple[Scale, ...] = eqx.field(static=True)  # one per leaf
    symbols: tuple[tuple[int, ...], ...] = eqx.field(static=True)  # one per leaf

    def __init__(
        self,
        obs: Any,
        width: int,
        *,
        key: PRNGKeyArray,
        num_layers: int = 1,
        activation: str = "relu",
        bounds: tuple[Any, Any] | None = None,
        symbols: Sequence[tuple[int, ...]] | None = None,
    ):
        key_linear, key_convs = jax.random.split(key)
        leaves = jax.tree.leaves(obs)
        self.symbols = ((),) * len(leaves) if symbols is None else tuple(symbols)
        towers, num_features = [], 0
        for i, (leaf, sizes) in enumerate(zip(leaves, self.symbols, strict=True)):
            if leaf.ndim not in (1, 3):
                raise UserError(f"env: observations are vectors or images, got an array of shape {leaf.shape}")
            if leaf.ndim == 1:
                num_features += sum(sizes) if sizes else leaf.shape[0]
                continue
            height, wide, channels = leaf.shape
            tower: list[Conv] = []
            while max(height, wide) > 5:  # halve until at most 5 x 5 cells are left
                out = 16 if not tower else 32
                tower.append(Conv(channels, out, key=jax.random.fold_in(key_convs, 100 * i + len(tower))))
                height, wide, channels = -(-height // 2), -(-wide // 2), out
            towers.append(tuple(tower))
            num_features += height * wide * channels
        if not num_features:
            raise UserError("env: observations have no entries that the encoder could read")
        self.convs = tuple(towers)
        self.layers = tuple(
            Linear(
                width if i else num_features,
                width,
                key=jax.random.fold_in(key_linear, i) if i else key_linear,
                init=orthogonal(2**0.5),
            )
            for i in range(num_layers)
        )
        self.activation = activation
        sides = ([None] * len(leaves),) * 2 if bounds is None else map(jax.tree.leaves, bounds)
        self.scales = tuple(map(scale_of, leaves, *sides))

    def __call__(self, obs: Any, num_leading: int = 0) -> Float[Array, "*T D"]:
        """Encode observations with `num_leading` leading axes."""
        f = ACTIVATIONS[self.activation]
        towers = iter(self.convs)
        first, *others = self.layers
        features, rows, embedded, end = [], [], [], 0
        leaves = map(jnp.asarray, jax.tree.leaves(obs))
        for leaf, scale, sizes in zip(leaves, self.scales, self.symbols, strict=True):
            lead = leaf.shape[:num_leading]
            if sizes and not jnp.issubdtype(leaf.dtype, jnp.floating):
                begin, end = end, end + sum(sizes)
                embedded.append(sum_of_rows(first.weight[begin:end], leaf, sizes))
                continue
            x = leaf if sizes else scale.apply(leaf.astype(jnp.float32))
            if leaf.ndim - num_leading == 3:
                x = x.reshape(-1, *leaf.shape[num_leading:])
                for conv in next(towers):
                    x = f(conv(x))
            features.append(x.reshape(*lead, -1))
            begin, end = end, end + features[-1].shape[-1]
            rows.append(first.weight[begin:end])
        if embedded:
            if features:
                embedded.append(matmul(jnp.concatenate(features, axis=-1), jnp.concatenate(rows)))
            bias = [] if first.bias is None else [first.bias]
            x = f(functools.reduce(operator.add, embedded + bias))
        else:
            x = f(first(jnp.concatenate(features, axis=-1)))
        for layer in others:
            x = f(layer(x))
        return x

    def as_numbers(self, obs: Any, num_leading: int = 0) -> Any:
        """Observations in which all vectors are float32, and one-hots stand for symbols; images and floats stay."""

        def numbers(leaf: Array, sizes: tuple[int, ...]) -> Array:
            if sizes and not jnp.issubdtype(leaf.dtype, jnp.floating):
                return one_hots(leaf, sizes)
            return leaf if leaf.ndim - num_leading == 3 else leaf.astype(jnp.float32)

        leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, obs))
        return jax.tree.unflatten(structure, [numbers(*pair) for pair in zip(leaves, self.symbols, strict=True)])
