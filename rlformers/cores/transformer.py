"""Transformer: pre-norm, causal, with a window of M tokens per layer (Vaswani et al. 2017; Xiong et al. 2020).

    c = norm_1(x)                q, k, v = W_q c + b_q, W_k c + b_k, W_v c + b_v
    s_tj = q_t·k_j / √d_h                                                            0 <= t - j <= M
    x' = x + W_o Σ_j softmax_j(s_t)_j v_j + b_o
    y = x' + FF(norm_2(x'))

`positions` chooses how tokens know their positions (see positions.py). The cache holds keys
unrotated, and rope turns them by their slot on reading. `relative` is Transformer-XL's s_tj = ((q_t
+ u)·k_j + (q_t + w)·r_{t-j}) / √d_h. `qk_norm` divides q and k by their root mean square, per head
(Henry et al. 2020). `attention_gate` multiplies each head by σ(W_g c), and `clipped_softmax` lets
weights be 0 (Bondarenko et al. 2023). Either lets a head do nothing.

rlformers/cores/attention_layer.py describes what a layer remembers.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rlformers.cores.attention import Positions
from rlformers.cores.attention_layer import AttentionLayer
from rlformers.cores.core import Core
from rlformers.cores.layers import (
    FEED_FORWARD,
    NORMS,
    FeedForward,
    Linear,
    Norm,
    RMSNorm,
    make_norm,
    per_gate,
    xavier_uniform,
)
from rlformers.cores.options import check_choices, check_least, check_positive, hidden_size, size_of_heads
from rlformers.cores.positions import AbsolutePositions, SinusoidalDistances, alibi, rotate
from rlformers.cores.stack import Stack
from rlformers.errors import UserError

POSITIONS = ("rope", "sinusoidal", "learned", "alibi", "relative", "none")


@dataclass(frozen=True)
class Config:
    """Options of the transformer."""

    memory: int = 32  # tokens that each layer remembers, M; L layers look L M tokens back
    memory_per_layer: tuple[int, ...] = ()  # M of each layer, bottom first; (): `memory` for all
    heads: int = 4  # number of heads, H
    head_size: int = 0  # size of a head, d_h; 0 means width / heads
    positions: str = "rope"  # how tokens know their positions
    max_position: int = 1024  # embeddings for positions=learned; later tokens share the last
    norm: str = "layer"  # norm_1 and norm_2
    ffn: str = "gelu"  # kind of feed-forward part
    ffn_ratio: float = 2.0  # hidden units of the feed-forward part per width
    qk_norm: bool = False  # divide q and k by their root mean square
    attention_gate: bool = False  # multiply each head by σ(W_g c)
    clipped_softmax: float = 0.0  # γ; 0: plain softmax
    loops: int = 1  # passes through the same layers

    def __post_init__(self) -> None:
        check_choices(self, positions=POSITIONS, norm=NORMS, ffn=FEED_FORWARD)
        check_least(self, memory=1, heads=1, head_size=0, max_position=1, loops=1)
        if min(self.memory_per_layer, default=1) < 1:
            raise UserError(f"core.memory_per_layer: need numbers of at least 1, got {list(self.memory_per_layer)}")
        check_positive(self, "ffn_ratio")
        if not 0 <= self.clipped_softmax < 1:
            raise UserError(f"core.clipped_softmax: need at least 0 and less than 1, got {self.clipped_softmax}")


class Layer(AttentionLayer):
    """Attention and feed-forward part, each on a residual path."""

    norm1: Norm
    W_qkv: Linear  # c -> (q, k, v), E = H d_h each
    q_norm: RMSNorm | None
    k_norm: RMSNorm | None
    u: Float[Array, "H d"] | None  # for positions=relative, in place of the biases of W_qkv
    w: Float[Array, "H d"] | None
    r: SinusoidalDistances | None
    W_g: Linear | None  # c -> H
    W_o: Linear  # E -> D
    norm2: Norm
    ffn: FeedForward
    kind: str = eqx.field(static=True)  # `positions`

    def __init__(self, width: int, M: int, depth: int, config: Config, *, key: PRNGKeyArray):
        key_qkv, key_r, key_g, key_o, key_ffn = jax.random.split(key, 5)
        H, d = config.heads, size_of_heads(width, config.heads, config.head_size)
        relative = config.positions == "relative"

        def branch(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
            """Scaled so that the sum of all 2 L branches has the size of one."""
            return xavier_uniform(key, shape) / (2 * depth) ** 0.5

        self.norm1, self.norm2 = make_norm(config.norm, width), make_norm(config.norm, width)
        self.W_qkv = Linear(width, 3 * H * d, key=key_qkv, init=per_gate(xavier_uniform, 3), use_bias=not relative)
        self.q_norm, self.k_norm = (RMSNorm(d), RMSNorm(d)) if config.qk_norm else (None, None)
        self.u = self.w = jnp.zeros((H, d)) if relative else None
        self.r = SinusoidalDistances(M, width, H, d, key=key_r) if relative else None
        self.W_g = Linear(width, H, key=key_g) if config.attention_gate else None
        self.W_o = Linear(H * d, width, key=key_o, init=branch)
        self.ffn = FeedForward(width, hidden_size(width, config.ffn_ratio), config.ffn, key=key_ffn, init_2=branch)
        self.M, self.H, self.kind, self.clip = M, H, config.positions, config.clipped_softmax

    def project(self, x: Float[Array, "*T D"]) -> tuple[Array, Array, Array]:
        """Queries, keys and values."""
        q, k, v = map(self.split, jnp.split(self.W_qkv(self.norm1(x)), 3, axis=-1))
        return (q if self.q_norm is None else self.q_norm(q)), (k if self.k_norm is None else self.k_norm(k)), v

    def queries(self, q: Float[Array, "*T H d"], slots: Int[np.ndarray, "*T"]) -> tuple[Array, Positions | None]:
        """The queries for the keys and those for the distances."""
        scale = q.shape[-1] ** -0.5
        if self.u is not None and self.w is not None and self.r is not None:
            return (q + self.u) * scale, Positions((q + self.w) * scale, self.r())
        return self.turn(q * scale, slots), alibi(q, self.M) if self.kind == "alibi" else None

    def turn(self, x: Float[Array, "*T H d"], slots: Int[np.ndarray, "*T"]) -> Float[Array, "*T H d"]:
        """Rotate by slots if positions are rotary."""
        return rotate(x, slots) if self.kind == "rope" else x

    def feed(self, x: Float[Array, "*T D"], a: Float[Array, "*T H d"]) -> Float[Array, "*T D"]:
        """The part after the attention."""
        if self.W_g is not None:
            a = jax.nn.sigmoid(self.W_g(self.norm1(x)))[..., None] * a
        x = x + self.W_o(a.reshape(*x.shape[:-1], -1))
        return x + self.ffn(self.norm2(x))


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A transformer.

    Raises:
        UserError: The heads do not fit the width, or the windows do not fit the number of layers.
    """
    head_size = size_of_heads(width, config.heads, config.head_size)
    if config.positions == "rope" and head_size % 2:
        raise UserError(f"core.head_size: need an even number with core.positions=rope, got {head_size}")
    windows = config.memory_per_layer or (config.memory,) * num_layers
    if len(windows) != num_layers:
        raise UserError(f"core.memory_per_layer: need one number per layer ({num_layers}), got {list(windows)}")
    key_table, *keys = jax.random.split(key, num_layers + 1)
    depth = num_layers * config.loops
    layers = tuple(Layer(width, M, depth, config, key=k) for M, k in zip(windows, keys, strict=True))
    body = Stack(layers, config.loops)
    if config.positions not in ("sinusoidal", "learned"):
        return body
    learned = config.positions == "learned"
    table = 0.02 * jax.random.normal(key_table, (config.max_position, width)) if learned else None
    return Stack((AbsolutePositions(table), body))
