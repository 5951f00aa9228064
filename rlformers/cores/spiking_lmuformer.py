"""Spiking LMUFormer, whose parts send each other spikes, 0 or 1 (Liu et al. 2024, the form "MS").

    LIF:   v' = v + (x - v) / τ        s = [v' >= V]        v = (1 - s) v'
    SLMU:  u = LIF(norm(W_u s + b_u))  m = Ā m + B̄ u        y = LIF(norm(W_h [LIF(norm(m)), s] + b_h))

    z = LIF(norm(conv(x))), three times;  z = conv(z)       x_0 = z + conv(LIF(norm(z)))
    x' = x + norm(W_p SLMU(LIF_½(norm(x))) + b_p)
    y = x' + W_2 LIF(norm(W_1 LIF(norm(x')) + b_1)) + b_2

V = 1, and ½ for LIF_½. The derivative of s is the derivative of a sigmoid of slope α = 4; none
flows through the reset 1 - s. Convolutions and norms are as in rlformers/cores/lmuformer.py. A
start replaces membranes v, memories m and inputs of convolutions by 0. A difference in the last bit
can flip a spike. So `scan` is `step` over time with nothing hoisted, and sums do not depend on the
batch: acting and learning compute the same bits for each token.
"""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.core import Core
from rlformers.cores.exact import product, select, total
from rlformers.cores.hippo import delay_eigenvalues, delay_memory, log_spaced_windows
from rlformers.cores.layers import LayerNorm, Linear, NoNorm
from rlformers.cores.lmu import check_windows
from rlformers.cores.lmuformer import NORMS, FrozenBatchNorm, Norm, conv_kernel, make_norm
from rlformers.cores.options import check_choices, check_least, check_positive, hidden_size
from rlformers.errors import UserError

ALPHA = 4.0


@dataclass(frozen=True)
class Config:
    """Options of the spiking LMUFormer."""

    channels: int = 8  # number of channels, C; the paper has one
    order: int = 16  # polynomials per channel, N
    theta_min: float = 16.0  # shortest window in tokens; windows are log-spaced over the channels
    theta_max: float = 128.0  # longest window in tokens; a single channel has this one
    tau: float = 2.0  # time constant of the membranes, in tokens
    ffn_ratio: float = 4.0  # hidden units of the channel mixer per width
    norm: str = "layer"  # every norm

    def __post_init__(self) -> None:
        check_choices(self, norm=NORMS)
        check_least(self, channels=1, order=1, tau=1)
        check_positive(self, "ffn_ratio")
        check_windows(self.theta_min, self.theta_max)
        if self.channels == 1 and self.norm in ("layer", "rms"):
            raise UserError(f"core.channels: need at least 2 with core.norm={self.norm}: one number has no spread")


@jax.custom_jvp
def spike(excess: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """1 where a membrane reaches its threshold, else 0."""
    return (excess >= 0).astype(excess.dtype)


@spike.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    sigma = jax.nn.sigmoid(ALPHA * primals[0])
    return spike(primals[0]), ALPHA * sigma * (1 - sigma) * tangents[0]


def lif(
    v: Float[Array, "*batch"], x: Float[Array, "*batch"], tau: float, threshold: float = 1.0
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Leaky integrate and fire: the next membrane and the spikes."""
    v = v + (x - v) / tau
    s = spike(v - threshold)
    # A choice by s, not a product with it, so that no derivative flows through the reset.
    return jnp.where(s > 0, 0, v), s


def affine(layer: Linear, s: Float[Array, " i"]) -> Float[Array, " o"]:
    """`layer(s)` of spikes s."""
    y = select(s, layer.weight)
    return y if layer.bias is None else y + layer.bias


def normalise(norm: Norm, x: Float[Array, " D"]) -> Float[Array, " D"]:
    """`norm(x)` by `total`."""
    if isinstance(norm, FrozenBatchNorm | NoNorm):
        return norm(x)
    centred = x - total(x) / len(x) if isinstance(norm, LayerNorm) else x
    y = centred * jax.lax.rsqrt(total(jnp.square(centred)) / len(x) + norm.eps) * norm.scale
    return y + norm.bias if isinstance(norm, LayerNorm) else y


class CellState(NamedTuple):
    """Membranes v and memory m."""

    v_u: Float[Array, " C"]
    m: Float[Array, "C N"]
    v_m: Float[Array, " Q"]
    v_h: Float[Array, " D"]


class SpikingLMU(eqx.Module):
    """The cell, from spikes to spikes."""

    W_u: Linear  # D -> C
    norm_u: Norm
    norm_m: Norm
    W_h: Linear  # (m, x) -> D
    norm_h: Norm
    thetas: tuple[float, ...] = eqx.field(static=True)
    order: int = eqx.field(static=True)
    tau: float = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_u, key_h = jax.random.split(key)
        Q = config.channels * config.order
        self.W_u = Linear(width, config.channels, key=key_u)
        self.norm_u = make_norm(config.norm, config.channels)
        self.norm_m = make_norm(config.norm, Q)
        self.W_h = Linear(Q + width, width, key=key_h)
        self.norm_h = make_norm(config.norm, width)
        self.thetas = log_spaced_windows(config.theta_min, config.theta_max, config.channels)
        self.order, self.tau = config.order, config.tau

    def initial_state(self) -> CellState:
        """All 0."""
        C, D = len(self.thetas), self.W_h.weight.shape[1]
        zeros = jnp.zeros((C, self.order), self.W_u.weight.dtype)
        return CellState(zeros[:, 0], zeros, zeros.reshape(-1), jnp.zeros(D, zeros.dtype))

    def step(self, state: CellState, x: Float[Array, " D"]) -> tuple[CellState, Float[Array, " D"]]:
        """Consume the spikes of one token."""
        A, B = (jnp.asarray(a, x.dtype) for a in delay_memory(self.order, self.thetas))
        v_u, u = lif(state.v_u, normalise(self.norm_u, affine(self.W_u, x)), self.tau)
        m = jax.vmap(product)(state.m, A.mT) + B * u[:, None]
        v_m, s = lif(state.v_m, normalise(self.norm_m, m.reshape(-1)), self.tau)
        v_h, y = lif(state.v_h, normalise(self.norm_h, affine(self.W_h, jnp.concatenate([s, x]))), self.tau)
        return CellState(v_u, m, v_m, v_h), y


class BlockState(NamedTuple):
    """Membranes in front of the cell, W_1 and W_2, and the cell."""

    v_x: Float[Array, " D"]
    cell: CellState
    v_1: Float[Array, " D"]
    v_2: Float[Array, " F"]


class Block(eqx.Module):
    """Token mixer and channel mixer; the residual stream carries real numbers, not spikes."""

    norm_x: Norm
    cell: SpikingLMU
    W_p: Linear
    norm_p: Norm
    norm_1: Norm
    W_1: Linear
    norm_2: Norm
    W_2: Linear

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_cell, key_p, key_1, key_2 = jax.random.split(key, 4)
        F = hidden_size(width, config.ffn_ratio)
        self.norm_x, self.norm_p, self.norm_1 = (make_norm(config.norm, width) for _ in range(3))
        self.norm_2 = make_norm(config.norm, F)
        self.cell = SpikingLMU(width, config, key=key_cell)
        self.W_p = Linear(width, width, key=key_p)
        self.W_1 = Linear(width, F, key=key_1)
        self.W_2 = Linear(F, width, key=key_2)

    def initial_state(self) -> BlockState:
        """All 0."""
        D, F = self.W_1.weight.shape
        zeros = jnp.zeros(D + F, self.W_1.weight.dtype)
        return BlockState(zeros[:D], self.cell.initial_state(), zeros[:D], zeros[D:])

    def step(self, state: BlockState, x: Float[Array, " D"]) -> tuple[BlockState, Float[Array, " D"]]:
        """Consume one token."""
        tau = self.cell.tau
        v_x, s = lif(state.v_x, normalise(self.norm_x, x), tau, threshold=0.5)
        cell, s = self.cell.step(state.cell, s)
        x = x + normalise(self.norm_p, affine(self.W_p, s))
        v_1, s = lif(state.v_1, normalise(self.norm_1, x), tau)
        v_2, s = lif(state.v_2, normalise(self.norm_2, affine(self.W_1, s)), tau)
        return BlockState(v_x, cell, v_1, v_2), x + affine(self.W_2, s)


class EmbeddingState(NamedTuple):
    """The last two inputs of every convolution, oldest first, and the membranes after the first four."""

    inputs: tuple[Float[Array, "2 D"], ...]
    v: tuple[Float[Array, " D"], ...]


class Embedding(eqx.Module):
    """Causal convolutions: the first of real numbers, the others of spikes."""

    convs: tuple[Float[Array, "3 D D"], ...]  # the last is the paper's relative position embedding
    norms: tuple[Norm, ...]
    tau: float = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        self.convs = tuple(conv_kernel(k, width) for k in jax.random.split(key, 5))
        self.norms = tuple(make_norm(config.norm, width) for _ in range(4))
        self.tau = config.tau

    def initial_state(self) -> EmbeddingState:
        """All 0."""
        zeros = jnp.zeros((2, self.convs[0].shape[1]), self.convs[0].dtype)
        return EmbeddingState((zeros,) * 5, (zeros[0],) * 4)

    def step(self, state: EmbeddingState, x: Float[Array, " D"]) -> tuple[EmbeddingState, Float[Array, " D"]]:
        """Consume one token."""
        inputs, membranes = [], []
        before = z = s = x
        for i, (buffer, kernel) in enumerate(zip(state.inputs, self.convs, strict=True)):
            before = z
            if i > 0:
                v, s = lif(state.v[i - 1], normalise(self.norms[i - 1], z), self.tau)
                membranes.append(v)
            taps = jnp.concatenate([buffer, s[None]])
            z = (select if i > 0 else product)(taps.reshape(-1), kernel.reshape(-1, kernel.shape[-1]))
            inputs.append(taps[1:])
        return EmbeddingState(tuple(inputs), tuple(membranes)), before + z


class SpikingState(NamedTuple):
    """The states of the embedding and of the blocks."""

    embedding: EmbeddingState
    blocks: tuple[BlockState, ...]


class SpikingLMUFormer(Core[SpikingState]):
    """Embedding and blocks."""

    embedding: Embedding
    blocks: tuple[Block, ...]

    def __init__(self, width: int, num_layers: int, config: Config, *, key: PRNGKeyArray):
        key_embedding, key_blocks = jax.random.split(key)
        self.embedding = Embedding(width, config, key=key_embedding)
        self.blocks = tuple(Block(width, config, key=k) for k in jax.random.split(key_blocks, num_layers))

    def initial_state(self) -> SpikingState:
        """All 0."""
        return SpikingState(self.embedding.initial_state(), tuple(block.initial_state() for block in self.blocks))

    def step(
        self, state: SpikingState, x: Float[Array, " D"], start: Bool[ArrayLike, ""]
    ) -> tuple[SpikingState, Float[Array, " D"]]:
        """Consume one token."""
        state = jax.tree.map(lambda empty, old: jnp.where(start, empty, old), self.initial_state(), state)
        embedding, x = self.embedding.step(state.embedding, x)
        new = []
        for block, block_state in zip(self.blocks, state.blocks, strict=True):
            block_state, x = block.step(block_state, x)
            new.append(block_state)
        return SpikingState(embedding, tuple(new)), x

    def eigenvalues(
        self, state: SpikingState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """The eigenvalues of every Ā, which no input changes."""
        cells = [block.cell for block in self.blocks]
        return tuple(jnp.asarray(delay_eigenvalues(cell.order, cell.thetas), complex)[None] for cell in cells)


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A spiking LMUFormer: one embedding, then `num_layers` blocks."""
    return SpikingLMUFormer(width, num_layers, config, key=key)
