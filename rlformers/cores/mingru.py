"""minGRU: gated recurrent unit whose gates do not see the state (Feng et al. 2024, "Were RNNs all we needed?").

    z = σ(W_z u + b_z)      h̃ = g(W_h u + b_h)      h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ h̃_t
    u = conv(RMSNorm(x))    x' = x + W_o h                  y = x' + FF(RMSNorm(x'))

g(a) = a + 1/2 for a ≥ 0 and σ(a) below, which is positive because the paper takes logarithms. Here
the recurrence needs none: its decays are in (0, 1), so nothing overflows. This is more exact in
float32, and a start has no logarithm. The second line is the paper's block for language models.
conv is causal, over `conv_size` tokens, each channel by itself. Without it one layer is blind to
the order of tokens. A start replaces h and the past of the convolution by 0.
"""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.conv import DepthwiseConv
from rlformers.cores.core import Core
from rlformers.cores.layers import NORMS, FeedForward, Linear, lecun_normal, make_norm, per_gate
from rlformers.cores.linear_scan import METHODS, PIECE, linear_scan
from rlformers.cores.options import check_choices, check_least, check_positive, hidden_size
from rlformers.cores.stack import Residual, Stack


@dataclass(frozen=True)
class Config:
    """Options of minGRU."""

    expand: int = 2  # size of h per width
    conv_size: int = 4  # tokens that the convolution sees, K; 1: no convolution
    norm: str = "rms"  # norm of x and x'
    ffn_ratio: float = 2.0  # hidden units of the feed-forward part per width
    scan: str = "auto"  # algorithm of the recurrence

    def __post_init__(self) -> None:
        check_choices(self, norm=NORMS, scan=METHODS)
        check_least(self, expand=1, conv_size=1)
        check_positive(self, "ffn_ratio")


class MinGRUState(NamedTuple):
    """The last inputs of the convolution, oldest first, and the hidden state."""

    conv: Float[Array, "k D"]  # k = K - 1
    h: Float[Array, " E"]


class MinGRU(Core[MinGRUState]):
    """The layer's residual branch."""

    conv: DepthwiseConv | None
    W: Linear  # u -> (z, h)
    W_o: Linear
    config: Config = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_conv, key_W, key_o = jax.random.split(key, 3)
        H = config.expand * width
        self.conv = DepthwiseConv(width, config.conv_size, key=key_conv) if config.conv_size > 1 else None
        self.W = Linear(width, 2 * H, key=key_W, init=per_gate(lecun_normal, 2))
        self.W_o = Linear(H, width, key=key_o)
        self.config = config

    def initial_state(self) -> MinGRUState:
        """Zeros."""
        W_o = self.W_o.weight
        buffer = jnp.zeros((0, W_o.shape[1]), W_o.dtype) if self.conv is None else self.conv.empty()
        return MinGRUState(buffer, jnp.zeros_like(W_o[:, 0]))

    def scan(
        self, state: MinGRUState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[MinGRUState, Float[Array, "T D"]]:
        """Consume a segment."""
        buffer, us = (state.conv, xs) if self.conv is None else self.conv(state.conv, xs, starts)
        h, hs = self.recur(state.h, us, starts)
        return MinGRUState(buffer, h), self.W_o(hs)

    def eigenvalues(
        self, state: MinGRUState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """1 - z."""
        us = xs if self.conv is None else self.conv(state.conv, xs, starts)[1]
        z, _ = jnp.split(self.W(us), 2, axis=-1)
        return (jax.nn.sigmoid(-z).astype(complex),)

    def recur(
        self, h: Float[Array, " E"], us: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Float[Array, " E"], Float[Array, "T E"]]:
        """The recurrent unit alone."""
        z, a = jnp.split(self.W(us), 2, axis=-1)
        g = jnp.where(a >= 0, a + 0.5, jax.nn.sigmoid(a))
        # σ(-z) instead of 1 - σ(z), so that a decay near 0 keeps its digits.
        return linear_scan(jax.nn.sigmoid(-z), jax.nn.sigmoid(z) * g, starts, h, self.config.scan)


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of minGRU layers."""

    def layer(key: PRNGKeyArray) -> Core:
        key_mixer, key_ffn = jax.random.split(key)
        ffn = FeedForward(width, hidden_size(width, config.ffn_ratio), "gelu", key=key_ffn)
        norm, norm_ffn = make_norm(config.norm, width), make_norm(config.norm, width)
        return Residual(norm, MinGRU(width, config, key=key_mixer), norm_ffn, ffn, PIECE)

    return Stack(tuple(layer(k) for k in jax.random.split(key, num_layers)))
