"""GTrXL: gated Transformer-XL (Parisotto et al. 2019; attention of Dai et al. 2019).

    c = LN_1(e)                 q, k, v = W_q c, W_k c, W_v c           r_d = W_r [sin(d ω), cos(d ω)]
    s_tj = ((q_t + u)·k_j + (q_t + w)·r_{t-j}) / √d_h                   0 <= t - j <= M
    o = g_1(e, relu(W_o Σ_j softmax_j(s_t)_j v_j + b_o))
    e' = g_2(o, relu(W_2 relu(W_1 LN_2(o) + b_1) + b_2))

g is a gate on the residual stream, by default a GRU's, whose bias keeps a new layer near the
identity. rlformers/cores/attention_layer.py describes what a layer remembers.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rlformers.cores.attention import Positions
from rlformers.cores.attention_layer import AttentionLayer
from rlformers.cores.core import Core
from rlformers.cores.layers import NORMS, Linear, Norm, make_norm, per_gate, xavier_uniform
from rlformers.cores.options import check_choices, check_least, check_positive, hidden_size, size_of_heads
from rlformers.cores.positions import LearnedDistances, SinusoidalDistances
from rlformers.cores.products import matmul
from rlformers.cores.stack import Stack

POSITIONS = ("relative", "learned")
GATES = ("gru", "input", "output", "highway", "sigtanh", "none")


@dataclass(frozen=True)
class Config:
    """Options of GTrXL."""

    memory: int = 32  # tokens that each layer remembers, M; L layers look L M tokens back
    heads: int = 4  # number of heads, H
    head_size: int = 0  # size of a head, d_h; 0 means width / heads
    ffn_ratio: float = 2.0  # hidden units of the feed-forward part per width
    positions: str = "relative"  # relative: r_d from sinusoids; learned: r_d is a parameter (Huang et al. 2019)
    gate: str = "gru"  # gate on the residual stream, g
    gate_bias: float = 2.0  # initial bias of the gate; larger: closer to the identity
    norm: str = "layer"  # LN_1 and LN_2

    def __post_init__(self) -> None:
        check_choices(self, positions=POSITIONS, gate=GATES, norm=NORMS)
        check_least(self, memory=1, heads=1, head_size=0)
        check_positive(self, "ffn_ratio")


class Gate(eqx.Module):
    """g(x, y): how a branch y joins the stream x (the paper, section 3.2)."""

    W: Any  # of y: Float[Array, "D G"], or None
    U: Any  # of x: Float[Array, "D G"], or None
    b: Any  # Float[Array, " D"] or None; if it is large, the stream passes and the branch does not
    kind: str = eqx.field(static=True)

    def __init__(self, kind: str, width: int, bias: float, *, key: PRNGKeyArray):
        key_W, key_U = jax.random.split(key)
        num_W, num_U = {"gru": (3, 3), "sigtanh": (2, 0), "none": (0, 0)}.get(kind, (0, 1))
        self.W = per_gate(xavier_uniform, num_W)(key_W, (width, num_W * width)) if num_W else None
        self.U = per_gate(xavier_uniform, num_U)(key_U, (width, num_U * width)) if num_U else None
        self.b = None if kind in ("input", "none") else jnp.full(width, bias)
        self.kind = kind

    def __call__(self, x: Float[Array, "*T D"], y: Float[Array, "*T D"]) -> Float[Array, "*T D"]:
        """Join them."""
        D = x.shape[-1]
        match self.kind:
            case "gru":
                W_r, W_z, W_h = jnp.split(matmul(y, self.W), 3, axis=-1)
                U_r, U_z = jnp.split(matmul(x, self.U[:, : 2 * D]), 2, axis=-1)
                r = jax.nn.sigmoid(W_r + U_r)
                z = jax.nn.sigmoid(W_z + U_z - self.b)
                h = jnp.tanh(W_h + matmul(r * x, self.U[:, 2 * D :]))
                return (1 - z) * x + z * h
            case "input":
                return jax.nn.sigmoid(matmul(x, self.U)) * x + y
            case "output":
                return x + jax.nn.sigmoid(matmul(x, self.U) - self.b) * y
            case "highway":
                z = jax.nn.sigmoid(matmul(x, self.U) + self.b)
                return z * x + (1 - z) * y
            case "sigtanh":
                W_z, W_h = jnp.split(matmul(y, self.W), 2, axis=-1)
                return x + jax.nn.sigmoid(W_z - self.b) * jnp.tanh(W_h)
        return x + y


class Layer(AttentionLayer):
    """Attention and feed-forward part, each behind its gate."""

    norm1: Norm
    W_qkv: Linear  # c -> (q, k, v), E = H d_h each; u is the bias of q, and softmax ignores a bias of k
    u: Float[Array, "H d"]
    w: Float[Array, "H d"]
    r: SinusoidalDistances | LearnedDistances
    W_o: Linear  # E -> D
    gate1: Gate
    norm2: Norm
    W_1: Linear
    W_2: Linear
    gate2: Gate

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_qkv, key_r, key_o, key_gate1, key_1, key_2, key_gate2 = jax.random.split(key, 7)
        M, H, d = config.memory, config.heads, size_of_heads(width, config.heads, config.head_size)
        E = H * d
        F = hidden_size(width, config.ffn_ratio)
        self.norm1 = make_norm(config.norm, width)
        self.W_qkv = Linear(width, 3 * E, key=key_qkv, init=per_gate(xavier_uniform, 3), use_bias=False)
        if config.positions == "learned":
            self.r = LearnedDistances(M, H, d, key=key_r)
        else:
            self.r = SinusoidalDistances(M, width, H, d, key=key_r)
        self.W_o = Linear(E, width, key=key_o, init=xavier_uniform)
        self.gate1 = Gate(config.gate, width, config.gate_bias, key=key_gate1)
        self.norm2 = make_norm(config.norm, width)
        self.W_1 = Linear(width, F, key=key_1, init=xavier_uniform)
        self.W_2 = Linear(F, width, key=key_2, init=xavier_uniform)
        self.gate2 = Gate(config.gate, width, config.gate_bias, key=key_gate2)
        self.u = self.w = jnp.zeros((H, d))
        self.M, self.H, self.clip = M, H, 0.0

    def project(self, x: Float[Array, "*T D"]) -> tuple[Array, Array, Array]:
        """Queries, keys and values."""
        q, k, v = map(self.split, jnp.split(self.W_qkv(self.norm1(x)), 3, axis=-1))
        return q, k, v

    def queries(self, q: Float[Array, "*T H d"], slots: Int[np.ndarray, "*T"]) -> tuple[Array, Positions]:
        """The queries for the keys and those for the distances."""
        scale = q.shape[-1] ** -0.5
        return (q + self.u) * scale, Positions((q + self.w) * scale, self.r())

    def feed(self, x: Float[Array, "*T D"], a: Float[Array, "*T H d"]) -> Float[Array, "*T D"]:
        """The part after the attention."""
        o = self.gate1(x, jax.nn.relu(self.W_o(a.reshape(*x.shape[:-1], -1))))
        f = self.W_2(jax.nn.relu(self.W_1(self.norm2(o))))
        return self.gate2(o, jax.nn.relu(f))


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A GTrXL.

    Raises:
        ValueError: The width is not divisible by the number of heads and `head_size` is not given.
    """
    return Stack(tuple(Layer(width, config, key=k) for k in jax.random.split(key, num_layers)))
