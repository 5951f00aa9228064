"""sLSTM: the xLSTM memory that mixes its units, with exponential gates (Beck et al. 2024), resettable.

    x' = LayerNorm(x)      c' = silu(conv(x'))
    i, f = W_if c' + R_if h_{t-1} + b_if      z, o = W_zo x' + R_zo h_{t-1} + b_zo
    m_t = max(log σ(f) + m_{t-1}, i)      i' = exp(i - m_t)      f' = exp(log σ(f) + m_{t-1} - m_t)
    c_t = f' c_{t-1} + i' tanh(z)      n_t = f' n_{t-1} + i'      h_t = σ(o) c_t / n_t
    x'' = x + LayerNorm(h_t)      y = x'' + FF(LayerNorm(x''))

W, R and the LayerNorm of h are per head, so only the units of a head mix. c_t / n_t is a weighted
mean of the tanh(z) so far. The stabiliser m keeps the exponentials in range and n_t >= 1, and
changes no h. A start replaces c, n, h and the past of the convolution by 0 and m by -1e30.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rlformers.cores.conv import DepthwiseConv
from rlformers.cores.core import Core
from rlformers.cores.layers import NORMS, FeedForward, LayerNorm, lecun_normal, make_norm
from rlformers.cores.mlstm import NEVER
from rlformers.cores.options import check_choices, check_least, check_positive, check_spread, hidden_size, size_of_heads
from rlformers.cores.products import einsum
from rlformers.cores.stack import Residual, Stack


@dataclass(frozen=True)
class Config:
    """Options of the sLSTM."""

    heads: int = 4  # number of heads, H
    conv_size: int = 4  # tokens that the input and forget gates see
    norm: str = "layer"  # norm of x and x''; h always has LayerNorm
    ffn_ratio: float = 4 / 3  # hidden units of the feed-forward part per width

    def __post_init__(self) -> None:
        check_choices(self, norm=NORMS)
        check_least(self, heads=1, conv_size=1)
        check_positive(self, "ffn_ratio")


class Cell(NamedTuple):
    """The units of the heads."""

    c: Float[Array, "H d"]
    n: Float[Array, "H d"]
    m: Float[Array, "H d"]
    h: Float[Array, "H d"]


class SLSTMState(NamedTuple):
    """The last inputs of the convolution, oldest first, and the units."""

    conv: Float[Array, "k D"]
    cell: Cell


class SLSTM(Core[SLSTMState]):
    """The layer's residual branch."""

    conv: DepthwiseConv
    W_if: Float[Array, "H d g"]  # g = 2 d
    W_zo: Float[Array, "H d g"]
    R: Float[Array, "H d G"]  # h -> (i, f, z, o), G = 4 d
    b: Float[Array, "H G"]
    norm: LayerNorm

    def __init__(self, width: int, config: Config, depth: float = 0.0, *, key: PRNGKeyArray):
        """`depth` goes from 0 for the bottom layer of a stack to 1 for the top one."""
        H, d = config.heads, size_of_heads(width, config.heads)
        check_spread(d, H)
        key_conv, *keys = jax.random.split(key, 3)
        self.conv = DepthwiseConv(width, config.conv_size, key=key_conv)
        self.W_if, self.W_zo = (lecun_normal(k, (d, 2 * width)).reshape(d, H, 2 * d).swapaxes(0, 1) for k in keys)
        # As in the authors' code. The gradient at R = 0 is not 0.
        self.R = jnp.zeros((H, d, 4 * d))
        # Forget gates range from 0.993 to 0.001 in each head. In higher layers more of them are
        # large.
        forget = 5.0 - 12.0 * jnp.linspace(0.0, 1.0, d) ** (0.3 + 1.3 * depth)
        self.b = jnp.zeros((H, 4 * d)).at[:, d : 2 * d].set(forget)
        self.norm = LayerNorm((H, d))

    def initial_state(self) -> SLSTMState:
        """An empty memory."""
        zeros = jnp.zeros_like(self.norm.scale)
        return SLSTMState(self.conv.empty(), Cell(zeros, zeros, jnp.full_like(zeros, NEVER), zeros))

    def scan(
        self, state: SLSTMState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[SLSTMState, Float[Array, "T D"]]:
        """Consume a segment; one product with x serves all tokens."""
        conv, us = self.conv(state.conv, xs, starts)
        by_heads = (-1, *self.norm.scale.shape)
        inputs = product(jax.nn.silu(us).reshape(by_heads), self.W_if), product(xs.reshape(by_heads), self.W_zo)
        gates = jnp.concatenate(inputs, axis=-1) + self.b
        cell, hs = jax.lax.scan(lambda cell, token: self._advance(cell, *token), state.cell, (gates, starts))
        return SLSTMState(conv, cell), self.norm(hs).reshape(xs.shape)

    def _advance(
        self, cell: Cell, gates: Float[Array, "H G"], start: Bool[Array, ""]
    ) -> tuple[Cell, Float[Array, "H d"]]:
        initial = self.initial_state().cell
        c, n, m, h = jax.tree.map(lambda empty, old: jnp.where(start, empty, old), initial, cell)
        i, f, z, o = jnp.split(gates + product(h, self.R), 4, axis=-1)
        carried = jax.nn.log_sigmoid(f) + m
        m = jnp.maximum(carried, i)
        write, keep = jnp.exp(i - m), jnp.exp(carried - m)
        c = keep * c + write * jnp.tanh(z)
        n = keep * n + write
        h = jax.nn.sigmoid(o) * c / n
        return Cell(c, n, m, h), h


def product(x: Float[Array, "*T H i"], W: Float[Array, "H i o"]) -> Float[Array, "*T H o"]:
    """Each head with its own matrix."""
    return einsum("...hi,hio->...ho", x, W)


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of sLSTM blocks."""
    layers = []
    for layer, layer_key in enumerate(jax.random.split(key, num_layers)):
        key_core, key_ffn = jax.random.split(layer_key)
        ffn = FeedForward(width, hidden_size(width, config.ffn_ratio), "geglu", key=key_ffn)
        core = SLSTM(width, config, layer / max(num_layers - 1, 1), key=key_core)
        layers.append(Residual(make_norm(config.norm, width), core, make_norm(config.norm, width), ffn))
    return Stack(tuple(layers))
