"""Gated DeltaNet: a matrix memory that erases what a key held before it writes (Yang, Kautz & Hatamizadeh 2024).

    q, k, v = silu(conv(W_qkv c))      q, k divided by their norms      c = RMSNorm(x)
    α = exp(-exp(A_log) softplus(W_α c + b_α))      β = σ(W_β c)
    S_t = α_t S_{t-1} (I - β_t k_t k_tᵀ) + β_t v_t k_tᵀ      o_t = S_t q_t / √K
    x' = x + W_o (RMSNorm(o) ⊙ silu(W_g c))      y = x' + FF(RMSNorm(x'))

per head. `decay=False` sets α = 1, which is DeltaNet (Schlag et al. 2021; Yang et al. 2024). The
code transposes S to K x V: S_t = α_t S_{t-1} + k_t w_tᵀ, where w_t = β_t (v_t - α_t S_{t-1}ᵀ k_t)
is what is new in v. Within a chunk w = (I + A)⁻¹ β (v - what k reads from the memory carried in),
A_ts = β_t W_ts k_t·k_s for s < t (the UT transform). With the w as values, this is the memory of
chunked.py. A start replaces S and the past of the convolution by 0.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.chunked import check_chunk, decay_sums, memory_step, read_and_write, visible, weights_of
from rlformers.cores.conv import DepthwiseConv
from rlformers.cores.core import Core
from rlformers.cores.layers import NORMS, FeedForward, Linear, RMSNorm, make_norm
from rlformers.cores.linear_scan import scan_chunks
from rlformers.cores.options import check_choices, check_least, check_positive, hidden_size, size_of_heads
from rlformers.cores.products import einsum, matmul
from rlformers.cores.stack import Residual, Stack
from rlformers.cores.time_steps import check_time_steps, time_step_bias


@dataclass(frozen=True)
class Config:
    """Options of DeltaNet."""

    heads: int = 4  # number of heads, H
    head_size: int = 0  # size of keys, K; 0 means width / heads
    expand: int = 2  # size of values per size of keys, V / K
    decay: bool = True  # learn a decay α; false: α = 1
    conv_size: int = 4  # tokens that the convolution sees
    dt_min: float = 1e-3  # smallest initial softplus(b_α)
    dt_max: float = 1e-1  # largest initial softplus(b_α)
    norm: str = "rms"  # norm of x and x'; o always has RMSNorm
    ffn_ratio: float = 2.0  # hidden units of the feed-forward part per width
    chunk: int = 16  # tokens per chunk

    def __post_init__(self) -> None:
        check_choices(self, norm=NORMS)
        check_least(self, heads=1, head_size=0, expand=1, conv_size=1)
        check_time_steps(self.dt_min, self.dt_max)
        check_positive(self, "ffn_ratio")
        check_chunk(self.chunk)


class DeltaNetState(NamedTuple):
    """The last inputs of the convolution, oldest first, and the memories of the heads."""

    conv: Float[Array, "k C"]
    S: Float[Array, "H K V"]


class DeltaNet(Core[DeltaNetState]):
    """The layer's residual branch."""

    # The authors' code also treats these apart from the matrices: no weight decay.
    slow_fields: ClassVar[tuple[str, ...]] = ("A_log", "W_alpha.bias")

    W_qkv: Linear
    conv: DepthwiseConv
    W_alpha: Linear | None
    A_log: Float[Array, " H"] | None
    W_beta: Linear
    W_g: Linear
    norm: RMSNorm
    W_o: Linear
    H: int = eqx.field(static=True)
    chunk: int = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_qkv, key_conv, key_alpha, key_dt, key_A, key_beta, key_g, key_o = jax.random.split(key, 8)
        H, K = config.heads, size_of_heads(width, config.heads, config.head_size)
        V = config.expand * K
        self.W_qkv = Linear(width, H * (2 * K + V), key=key_qkv, use_bias=False)
        self.conv = DepthwiseConv(H * (2 * K + V), config.conv_size, key=key_conv, use_bias=False)
        self.W_alpha, self.A_log = None, None
        if config.decay:
            bias = time_step_bias(key_dt, H, config.dt_min, config.dt_max)
            self.W_alpha = eqx.tree_at(lambda linear: linear.bias, Linear(width, H, key=key_alpha), bias)
            self.A_log = jnp.log(jax.random.uniform(key_A, (H,), minval=1.0, maxval=16.0))
        self.W_beta = Linear(width, H, key=key_beta, use_bias=False)
        self.W_g = Linear(width, H * V, key=key_g, use_bias=False)
        self.norm = RMSNorm(V)
        self.W_o = Linear(H * V, width, key=key_o, use_bias=False)
        self.H, self.chunk = H, config.chunk

    def initial_state(self) -> DeltaNetState:
        """Zeros."""
        V = len(self.norm.scale)
        K = (self.conv.weight.shape[1] // self.H - V) // 2
        return DeltaNetState(self.conv.empty(), jnp.zeros((self.H, K, V), self.norm.scale.dtype))

    def scan(
        self, state: DeltaNetState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[DeltaNetState, Float[Array, "T D"]]:
        """Consume a segment."""
        conv, q, k, v, log_alphas, betas = self.tokens(state, xs, starts)
        S, os = delta_scan(q, k, v, log_alphas, betas, starts, state.S, self.chunk)
        os = self.norm(os).reshape(len(xs), -1)
        return DeltaNetState(conv, S), self.W_o(os * jax.nn.silu(self.W_g(xs)))

    def tokens(
        self, state: DeltaNetState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Array, Array, Array, Array, Array, Array]:
        """The convolution's next buffer, and q, k, v, log α and β of every token."""
        T, (H, K, _) = len(xs), state.S.shape
        conv, qkvs = self.conv(state.conv, self.W_qkv(xs), starts)
        parts = jnp.split(jax.nn.silu(qkvs), (H * K, 2 * H * K), axis=-1)
        q, k, v = (a.reshape(T, H, -1) for a in parts)
        q, k = unit(q) / K**0.5, unit(k)
        betas = jax.nn.sigmoid(self.W_beta(xs))
        log_alphas = jnp.zeros_like(betas)
        if self.W_alpha is not None and self.A_log is not None:
            log_alphas = -jnp.exp(self.A_log) * jax.nn.softplus(self.W_alpha(xs))
        return conv, q, k, v, log_alphas, betas

    def eigenvalues(
        self, state: DeltaNetState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """Per head, α orthogonal to the key and α (1 - β k·k) along it."""
        _, _, k, _, log_alphas, betas = self.tokens(state, xs, starts)
        alphas = jnp.exp(log_alphas)
        return (jnp.concatenate([alphas, alphas * (1 - betas * jnp.square(k).sum(-1))], axis=-1).astype(complex),)


def unit(x: Float[Array, "*T K"]) -> Float[Array, "*T K"]:
    """x divided by its Euclidean norm."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-6)


def delta_scan(
    q: Float[Array, "T H K"],
    k: Float[Array, "T H K"],
    v: Float[Array, "T H V"],
    log_alphas: Float[Array, "T H"],
    betas: Float[Array, "T H"],
    starts: Bool[Array, " T"],
    S: Float[Array, "H K V"],
    chunk: int,
) -> tuple[Float[Array, "H K V"], Float[Array, "T H V"]]:
    """The last memory, K x V, and what every token reads."""

    def advance(S: Array, tokens: tuple[Array, ...]) -> tuple[Array, Array]:
        q, k, v, log_alphas, betas, starts = tokens
        if len(starts) == 1:
            alpha = jnp.exp(log_alphas[0])
            old = alpha[:, None] * einsum("hk,hkv->hv", k[0], jnp.where(starts[0], 0, S))
            S, o = memory_step(q[0], k[0], betas[0, :, None] * (v[0] - old), alpha, starts[0], S)
            return S, o[None]
        seen = visible(starts)
        weights = weights_of(decay_sums(log_alphas), seen)
        return read_and_write(weights, seen, q, k, news(weights, seen, k, v, betas, S), S)

    return scan_chunks(advance, S, (q, k, v, log_alphas, betas, starts), chunk)


def news(
    weights: Float[Array, "H c w"],
    seen: Bool[Array, "c w"],
    k: Float[Array, "c H K"],
    v: Float[Array, "c H V"],
    betas: Float[Array, "c H"],
    S: Float[Array, "H K V"],
) -> Float[Array, "c H V"]:
    """The w of a chunk."""
    k, v, betas = jnp.swapaxes(k, 0, 1), jnp.swapaxes(v, 0, 1), betas.T[..., None]
    A = betas * jnp.where(jnp.tril(seen[:, 1:], -1), weights[..., 1:] * matmul(k, jnp.swapaxes(k, 1, 2)), 0)
    right = betas * (v - jnp.where(seen[:, :1], weights[..., :1] * matmul(k, S), 0))
    # The inverse mixes all rows, and 0 · NaN is NaN. So rows with a NaN count as 0 here, and every
    # row that sees one becomes NaN afterwards.
    sound = jnp.isfinite(A).all(-1) & jnp.isfinite(right).all(-1)
    A, right = (jnp.where(sound[..., None], a, 0) for a in (A, right))
    ws = matmul(inverse(A), right)
    spoilt = (seen[:, 1:] & ~sound[:, None]).any(-1)
    return jnp.swapaxes(jnp.where(spoilt[..., None], jnp.nan, ws), 0, 1)


def inverse(A: Float[Array, "H c c"]) -> Float[Array, "H c c"]:
    """(I + A)⁻¹ of strictly lower triangular A, by inverting diagonal blocks of 1, 2, 4, ... tokens.

    [[P, 0], [Q, R]]⁻¹ = [[P⁻¹, 0], [-R⁻¹ Q P⁻¹, R⁻¹]] for all pairs of blocks at once. This is as
    accurate as substitution, which XLA runs row by row. The inverse is also a sum of powers of A,
    but these can be very large.
    """
    c, size = A.shape[-1], 1
    M = jnp.broadcast_to(jnp.eye(c, dtype=A.dtype), A.shape)
    while size < c:
        block = np.arange(c) // size
        below = (block[:, None] % 2 == 1) & (block == block[:, None] - 1)
        M -= matmul(matmul(M, jnp.where(below, A, 0)), M)
        size *= 2
    return M


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of DeltaNet layers."""

    def layer(key: PRNGKeyArray) -> Core:
        key_mixer, key_ffn = jax.random.split(key)
        ffn = FeedForward(width, hidden_size(width, config.ffn_ratio), "swiglu", key=key_ffn)
        norm, norm_ffn = make_norm(config.norm, width), make_norm(config.norm, width)
        return Residual(norm, DeltaNet(width, config, key=key_mixer), norm_ffn, ffn)

    return Stack(tuple(layer(k) for k in jax.random.split(key, num_layers)))
