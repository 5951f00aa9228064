"""Linear attention: a Transformer layer whose memory has a fixed size (Katharopoulos et al. 2020), resettable.

    q, k, v = W_q c, W_k c, W_v c      φ(u) = elu(u) + 1      c = LayerNorm(x)
    S_t = a S_{t-1} + φ(k_t) v_tᵀ      n_t = a n_{t-1} + φ(k_t)
    x' = x + W_o (φ(q_t)ᵀ S_t / φ(q_t)ᵀ n_t)      y = x' + FF(LayerNorm(x'))

per head. The paper has a = 1, a mean over the whole past that ignores order. `decay` learns a =
exp(-exp(log_rate)) per head, which RetNet keeps fixed (Sun et al. 2023). With `conv_size` > 1 a
short causal convolution mixes neighbours into q, k, v (Yang et al. 2024). `normaliser=rms` divides
every head's φ(q)ᵀ S by its root mean square instead of φ(q)ᵀ n (Qin et al. 2022). A start replaces
S, n and the convolution's past by 0.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.chunked import check_chunk, memory_scan
from rlformers.cores.conv import DepthwiseConv
from rlformers.cores.core import Core
from rlformers.cores.layers import NORMS, FeedForward, Linear, RMSNorm, make_norm, per_gate, xavier_uniform
from rlformers.cores.options import check_choices, check_least, check_positive, hidden_size, size_of_heads
from rlformers.cores.stack import Residual, Stack

NORMALISERS = ("sum", "rms")
TIMES = (2.0, 512.0)  # tokens until the fastest and the slowest head have forgotten all but 1/e


@dataclass(frozen=True)
class Config:
    """Options of linear attention."""

    heads: int = 4  # number of heads, H
    head_size: int = 0  # size of keys and values; 0 means width / heads
    normaliser: str = "sum"  # what divides φ(q)ᵀ S: φ(q)ᵀ n or its root mean square
    decay: bool = True  # learn a decay a; false: a = 1
    conv_size: int = 4  # tokens that the convolution sees, K; 1: no convolution
    norm: str = "layer"  # norm of x and x'
    ffn_ratio: float = 2.0  # hidden units of the feed-forward part per width
    chunk: int = 16  # tokens per chunk

    def __post_init__(self) -> None:
        check_choices(self, normaliser=NORMALISERS, norm=NORMS)
        check_least(self, heads=1, head_size=0, conv_size=1)
        check_positive(self, "ffn_ratio")
        check_chunk(self.chunk)


class LinearAttentionState(NamedTuple):
    """The last inputs of the convolution, oldest first, and the memories of the heads."""

    conv: Float[Array, "k C"]  # k = K - 1
    S: Float[Array, "H K V"]
    n: Float[Array, "H K"]


class LinearAttention(Core[LinearAttentionState]):
    """The layer's residual branch."""

    slow_fields: ClassVar[tuple[str, ...]] = ("log_rate",)  # like the decays of state spaces

    W_qkv: Linear
    conv: DepthwiseConv | None
    log_rate: Float[Array, " H"] | None
    norm: RMSNorm | None
    W_o: Linear
    config: Config = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_qkv, key_conv, key_o = jax.random.split(key, 3)
        H = config.heads
        E = H * size_of_heads(width, H, config.head_size)
        self.W_qkv = Linear(width, 3 * E, key=key_qkv, init=per_gate(xavier_uniform, 3), use_bias=False)
        self.conv = DepthwiseConv(3 * E, config.conv_size, key=key_conv) if config.conv_size > 1 else None
        self.log_rate = -jnp.log(jnp.geomspace(*TIMES, H)) if config.decay else None
        self.norm = RMSNorm((H, E // H)) if config.normaliser == "rms" else None
        self.W_o = Linear(E, width, key=key_o, use_bias=False)
        self.config = config

    def initial_state(self) -> LinearAttentionState:
        """Zeros."""
        W, H = self.W_qkv.weight, self.config.heads
        d = W.shape[1] // (3 * H)
        buffer = jnp.zeros((0, W.shape[1]), W.dtype) if self.conv is None else self.conv.empty()
        return LinearAttentionState(buffer, jnp.zeros((H, d, d), W.dtype), jnp.zeros((H, d), W.dtype))

    def scan(
        self, state: LinearAttentionState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[LinearAttentionState, Float[Array, "T D"]]:
        """Consume a segment."""
        T, H = len(xs), self.config.heads
        buffer, qkvs = state.conv, self.W_qkv(xs)
        if self.conv is not None:
            buffer, qkvs = self.conv(buffer, qkvs, starts)
            qkvs = jax.nn.silu(qkvs)
        q, k, v = (a.reshape(T, H, -1) for a in jnp.split(qkvs, 3, axis=-1))
        S, n, reads, sums = attend(q, k, v, self.log_decays(), starts, state.S, state.n, self.config.chunk)
        # φ(q)ᵀ n is at least the token's own φ(q)ᵀ φ(k), so it is small only where both saturate.
        ys = reads / jnp.maximum(sums, 1e-6) if self.norm is None else self.norm(reads)
        return LinearAttentionState(buffer, S, n), self.W_o(ys.reshape(T, -1))

    def log_decays(self) -> Float[Array, " H"]:
        """log a."""
        return jnp.zeros(self.config.heads, self.W_o.weight.dtype) if self.log_rate is None else -jnp.exp(self.log_rate)

    def eigenvalues(
        self, state: LinearAttentionState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """a, one per head."""
        return (jnp.exp(self.log_decays())[None].astype(complex),)


def attend(
    q: Float[Array, "T H K"],
    k: Float[Array, "T H K"],
    v: Float[Array, "T H V"],
    log_decays: Float[Array, " H"],
    starts: Bool[Array, " T"],
    S: Float[Array, "H K V"],
    n: Float[Array, "H K"],
    chunk: int,
) -> tuple[Float[Array, "H K V"], Float[Array, "H K"], Float[Array, "T H V"], Float[Array, "T H 1"]]:
    """The last S and n, and what all tokens read from them; n is the memory of one more value that is always 1."""
    q, k = jax.nn.elu(q) + 1, jax.nn.elu(k) + 1
    v = jnp.concatenate([v, jnp.ones_like(v[..., :1])], axis=-1)
    S = jnp.concatenate([S, n[..., None]], axis=-1)
    S, ys = memory_scan(q, k, v, jnp.broadcast_to(log_decays, v.shape[:2]), starts, S, chunk)
    return S[..., :-1], S[..., -1], ys[..., :-1], ys[..., -1:]


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of layers of linear attention."""

    def layer(key: PRNGKeyArray) -> Core:
        key_mixer, key_ffn = jax.random.split(key)
        ffn = FeedForward(width, hidden_size(width, config.ffn_ratio), "gelu", key=key_ffn)
        norm, norm_ffn = make_norm(config.norm, width), make_norm(config.norm, width)
        return Residual(norm, LinearAttention(width, config, key=key_mixer), norm_ffn, ffn)

    return Stack(tuple(layer(k) for k in jax.random.split(key, num_layers)))
