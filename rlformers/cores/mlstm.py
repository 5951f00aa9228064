"""mLSTM: the matrix memory of xLSTM with exponential gates (Beck et al. 2024), resettable.

    (u, z) = W_up LayerNorm(x)      c = silu(conv(u))
    q, k, v = W_q c, W_k c, W_v u      i, f = W_if (q, k, v) + b
    m_t = max(log σ(f_t) + m_{t-1}, i_t)      i' = exp(i_t - m_t)      f' = exp(log σ(f_t) + m_{t-1} - m_t)
    C_t = f' C_{t-1} + i' k_t v_tᵀ      n_t = f' n_{t-1} + i' k_t
    q' = q / √K      h_t = C_tᵀ q'_t / (max(|n_tᵀ q'_t|, exp(-m_t)) + 1e-6)
    y = x + W_down ((LayerNorm(h) + s ⊙ c) ⊙ silu(z))

per head, also the inner LayerNorm. W_q, W_k, W_v are block-diagonal. The stabiliser m keeps the
exponentials in range and changes no h. A start replaces C, n and the past of the convolution by 0
and m by -1e30.
"""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.chunked import check_chunk, decay_sums, memory_step, read_and_write, visible, weights_of
from rlformers.cores.conv import DepthwiseConv
from rlformers.cores.core import Core
from rlformers.cores.layers import NORMS, LayerNorm, Linear, lecun_normal, make_norm
from rlformers.cores.linear_scan import scan_chunks
from rlformers.cores.options import check_choices, check_least, check_spread
from rlformers.cores.products import einsum
from rlformers.cores.stack import Residual, Stack
from rlformers.errors import UserError

NEVER = -1e30  # m of an empty memory; -∞ would lead to -∞ - (-∞)


@dataclass(frozen=True)
class Config:
    """Options of the mLSTM."""

    heads: int = 4  # number of heads, H
    expand: int = 2  # channels per width, E / D
    conv_size: int = 4  # tokens that the convolution sees
    block_size: int = 4  # size of the blocks of W_q, W_k, W_v
    norm: str = "layer"  # norm of x; h always has LayerNorm
    chunk: int = 16  # tokens per chunk

    def __post_init__(self) -> None:
        check_choices(self, norm=NORMS)
        check_least(self, heads=1, expand=1, conv_size=1, block_size=1)
        check_chunk(self.chunk)


class Memory(NamedTuple):
    """The matrix memories of the heads."""

    C: Float[Array, "H K V"]
    n: Float[Array, "H K"]
    m: Float[Array, " H"]


class MLSTMState(NamedTuple):
    """The last inputs of the convolution, oldest first, and the memory."""

    conv: Float[Array, "k E"]
    memory: Memory


class MLSTM(Core[MLSTMState]):
    """The layer's residual branch."""

    W_up: Linear  # x -> (u, z)
    conv: DepthwiseConv
    W_q: Float[Array, "n b b"]  # the n = E / b blocks
    W_k: Float[Array, "n b b"]
    W_v: Float[Array, "n b b"]
    W_if: Linear
    skip: Float[Array, " E"]  # s
    norm: LayerNorm
    W_down: Linear
    chunk: int = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_up, key_conv, *keys_qkv, key_i, key_down = jax.random.split(key, 7)
        E, H, b = config.expand * width, config.heads, config.block_size
        for name, size in (("heads", H), ("block_size", b)):
            if E % size:
                raise UserError(f"core.{name}: {size} does not divide the {E} channels")
        check_spread(E // H, H)
        self.W_up = Linear(width, 2 * E, key=key_up, use_bias=False)
        self.conv = DepthwiseConv(E, config.conv_size, key=key_conv)
        self.W_q, self.W_k, self.W_v = (lecun_normal(k, (b, E)).reshape(b, -1, b).swapaxes(0, 1) for k in keys_qkv)
        # At first the gates ignore their inputs: input gates are near 1, forget gates from 0.95 to
        # 0.998.
        bias = jnp.concatenate([0.1 * jax.random.normal(key_i, (H,)), jnp.linspace(3.0, 6.0, H)])
        gates = Linear(3 * E, 2 * H, key=key_i, init=lambda _, shape: jnp.zeros(shape))
        self.W_if = eqx.tree_at(lambda linear: linear.bias, gates, bias)
        self.skip = jnp.ones(E)
        self.norm = LayerNorm((H, E // H))
        self.W_down = Linear(E, width, key=key_down, use_bias=False)
        self.chunk = config.chunk

    def initial_state(self) -> MLSTMState:
        """An empty memory."""
        H, V = self.norm.scale.shape
        zero = jnp.zeros((H, V), self.skip.dtype)
        memory = Memory(jnp.zeros((H, V, V), self.skip.dtype), zero, jnp.full_like(zero[:, 0], NEVER))
        return MLSTMState(self.conv.empty(), memory)

    def scan(
        self, state: MLSTMState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[MLSTMState, Float[Array, "T D"]]:
        """Consume a segment."""
        conv, zs, cs, q, k, v, i, f = self.tokens(state, xs, starts)
        memory, hs = mlstm_scan(q, k, v, i, f, starts, state.memory, self.chunk)
        hs = self.norm(hs).reshape(len(xs), -1) + self.skip * cs
        return MLSTMState(conv, memory), self.W_down(hs * jax.nn.silu(zs))

    def tokens(
        self, state: MLSTMState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Array, Array, Array, Array, Array, Array, Array, Array]:
        """The convolution's next buffer, and z, c, q, k, v, i and f of every token."""
        T, (H, V) = len(xs), self.norm.scale.shape
        us, zs = jnp.split(self.W_up(xs), 2, axis=-1)
        conv, cs = self.conv(state.conv, us, starts)
        cs = jax.nn.silu(cs)
        q, k, v = (by_blocks(a, W) for a, W in ((cs, self.W_q), (cs, self.W_k), (us, self.W_v)))
        i, f = jnp.split(self.W_if(jnp.concatenate([q, k, v], axis=-1)), 2, axis=-1)
        q, k, v = (a.reshape(T, H, V) for a in (q, k, v))
        return conv, zs, cs, q, k, v, i, f

    def eigenvalues(
        self, state: MLSTMState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """σ(f), one per head: the decay of exp(m) C and exp(m) n, which the stabiliser m does not change."""
        return (jax.nn.sigmoid(self.tokens(state, xs, starts)[-1]).astype(complex),)


def by_blocks(xs: Float[Array, "T E"], W: Float[Array, "n b b"]) -> Float[Array, "T E"]:
    """The product with the block-diagonal matrix whose blocks are W."""
    return einsum("tni,nio->tno", xs.reshape(len(xs), *W.shape[:2]), W).reshape(xs.shape)


def mlstm_scan(
    q: Float[Array, "T H K"],
    k: Float[Array, "T H K"],
    v: Float[Array, "T H V"],
    i: Float[Array, "T H"],
    f: Float[Array, "T H"],
    starts: Bool[Array, " T"],
    memory: Memory,
    chunk: int,
) -> tuple[Memory, Float[Array, "T H V"]]:
    """The last memory and all h; q is not yet divided by √K."""
    q = q / q.shape[-1] ** 0.5
    v = jnp.concatenate([v, jnp.ones_like(v[..., :1])], axis=-1)  # n is the memory of this extra value

    def advance(memory: Memory, tokens: tuple[Array, ...]) -> tuple[Memory, Array]:
        q, k, v, i, log_f, starts = tokens
        S = jnp.concatenate([memory.C, memory.n[..., None]], axis=-1)
        if len(starts) == 1:
            carried = log_f[0] + jnp.where(starts[0], NEVER, memory.m)
            m = jnp.maximum(carried, i[0])
            S, read = memory_step(q[0], jnp.exp(i[0] - m)[:, None] * k[0], v[0], jnp.exp(carried - m), starts[0], S)
            return Memory(S[..., :-1], S[..., -1], m), divide(read, m)[None]
        seen = visible(starts)
        sources = jnp.concatenate([memory.m[None], i]).T[:, None]
        logs = jnp.where(seen, decay_sums(log_f) + sources, NEVER)
        m = logs.max(-1)
        S, reads = read_and_write(weights_of(logs - m[..., None], seen), seen, q, k, v, S)
        return Memory(S[..., :-1], S[..., -1], m[:, -1]), divide(reads, m.T)

    return scan_chunks(advance, memory, (q, k, v, i, jax.nn.log_sigmoid(f), starts), chunk)


def divide(reads: Float[Array, "*T H _"], m: Float[Array, "*T H"]) -> Float[Array, "*T H V"]:
    """h from (Cᵀ q, nᵀ q)."""
    # Below -80 the result is 0 either way, and exp(-m) would overflow.
    least = jnp.exp(-jnp.maximum(m, -80.0))[..., None]
    return reads[..., :-1] / (jnp.maximum(jnp.abs(reads[..., -1:]), least) + 1e-6)


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of mLSTM blocks."""
    keys = jax.random.split(key, num_layers)
    return Stack(tuple(Residual(make_norm(config.norm, width), MLSTM(width, config, key=k)) for k in keys))
