"""LMUFormer: convolutional embedding, LMUs as token mixers, convolutional channel mixers (Liu et al. 2024).

    z = norm(relu(conv(x))), four times        x_0 = z + conv(z)
    x' = x + norm(W_p LMU(x) + b_p)            LMU: the parallel cell of rlformers/cores/lmu.py, f_u = f_o = relu
    y = x' + relu(norm(W_2 gelu(norm(W_1 x' + b_1)) + b_2))

conv has three taps and no bias. In the paper each looks one token ahead. Here all are causal, and
each carries its last two inputs, which are 0 before a start. norm replaces the paper's BatchNorm,
whose statistics would differ between acting and learning. `frozen_bn` is BatchNorm with constant
statistics.
"""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores import layers
from rlformers.cores.conv import dense_conv
from rlformers.cores.core import Core
from rlformers.cores.hippo import log_spaced_windows
from rlformers.cores.layers import Linear, lecun_normal
from rlformers.cores.linear_scan import MATRIX_METHODS, PIECE, scan_chunks
from rlformers.cores.lmu import MemoryState, ParallelLMU, check_windows
from rlformers.cores.options import check_choices, check_least, check_positive, hidden_size

NORMS = (*layers.NORMS, "frozen_bn")


@dataclass(frozen=True)
class Config:
    """Options of LMUFormer."""

    channels: int = 8  # number of channels, C; the paper has one
    order: int = 16  # polynomials per channel, N
    theta_min: float = 16.0  # shortest window in tokens; windows are log-spaced over the channels
    theta_max: float = 128.0  # longest window in tokens; a single channel has this one
    ffn_ratio: float = 4.0  # hidden units of the channel mixer per width
    norm: str = "layer"  # every norm
    scan: str = "auto"  # algorithm of the recurrence

    def __post_init__(self) -> None:
        check_choices(self, norm=NORMS, scan=MATRIX_METHODS)
        check_least(self, channels=1, order=1)
        check_positive(self, "ffn_ratio")
        check_windows(self.theta_min, self.theta_max)


class FrozenBatchNorm(eqx.Module):
    """BatchNorm with constant statistics, folded into an affine map per channel."""

    scale: Float[Array, " D"]
    bias: Float[Array, " D"]

    @classmethod
    def of(cls, mean: Array, var: Array, scale: Array, bias: Array, eps: float = 1e-5) -> "FrozenBatchNorm":
        """The map (x - mean) / √(var + eps) scale + bias."""
        scale = scale * jax.lax.rsqrt(var + eps)
        return cls(scale, bias - mean * scale)

    def __call__(self, x: Float[Array, "*T D"]) -> Float[Array, "*T D"]:
        """Apply to the last axis."""
        return x * self.scale + self.bias


Norm = layers.Norm | FrozenBatchNorm


def make_norm(kind: str, width: int) -> Norm:
    """One of `NORMS`; scale starts at 1 and bias at 0."""
    if kind == "frozen_bn":
        return FrozenBatchNorm(jnp.ones(width), jnp.zeros(width))
    return layers.make_norm(kind, width)


def conv_kernel(key: PRNGKeyArray, width: int) -> Float[Array, "3 D D"]:
    """Three taps, which all count in the fan-in."""
    return lecun_normal(key, (3 * width, width)).reshape(3, width, width)


class Embedding(eqx.Module):
    """Causal convolutions. Each output sees 11 tokens, and x_0 knows their order."""

    convs: tuple[Float[Array, "3 D D"], ...]
    norms: tuple[Norm, ...]
    rpe: Float[Array, "3 D D"]  # the paper's relative position embedding

    def __init__(self, width: int, norm: str, *, key: PRNGKeyArray):
        *keys, key_rpe = jax.random.split(key, 5)
        self.convs = tuple(conv_kernel(k, width) for k in keys)
        self.norms = tuple(make_norm(norm, width) for _ in keys)
        self.rpe = conv_kernel(key_rpe, width)

    def initial_state(self) -> tuple[Float[Array, "2 D"], ...]:
        """Zeros for every convolution."""
        return tuple(jnp.zeros((2, kernel.shape[1]), kernel.dtype) for kernel in (*self.convs, self.rpe))

    def scan(
        self, state: tuple[Float[Array, "2 D"], ...], xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[tuple[Float[Array, "2 D"], ...], Float[Array, "T D"]]:
        """Consume a segment."""
        new = []
        for buffer, kernel, norm in zip(state[:-1], self.convs, self.norms, strict=True):
            buffer, ys = dense_conv(buffer, xs, starts, kernel)
            xs = norm(jax.nn.relu(ys))
            new.append(buffer)
        buffer, positions = dense_conv(state[-1], xs, starts, self.rpe)
        return (*new, buffer), xs + positions


class Block(eqx.Module):
    """Token mixer and channel mixer."""

    lmu: ParallelLMU
    W_p: Linear
    norm_p: Norm
    W_1: Linear
    norm_1: Norm
    W_2: Linear
    norm_2: Norm

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_lmu, key_p, key_1, key_2 = jax.random.split(key, 4)
        thetas = log_spaced_windows(config.theta_min, config.theta_max, config.channels)
        self.lmu = ParallelLMU(width, thetas, config.order, "relu", "relu", config.scan, key=key_lmu)
        self.W_p = Linear(width, width, key=key_p)
        self.norm_p = make_norm(config.norm, width)
        F = hidden_size(width, config.ffn_ratio)
        self.W_1 = Linear(width, F, key=key_1)
        self.norm_1 = make_norm(config.norm, F)
        self.W_2 = Linear(F, width, key=key_2)
        self.norm_2 = make_norm(config.norm, width)

    def scan(
        self, state: MemoryState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[MemoryState, Float[Array, "T D"]]:
        """Consume a segment."""
        state, ys = self.lmu.scan(state, xs, starts)
        xs = xs + self.norm_p(self.W_p(ys))
        return state, xs + self.mix(xs)

    def mix(self, x: Float[Array, "*T D"]) -> Float[Array, "*T D"]:
        """The channel mixer, on every token by itself."""
        hidden = jax.nn.gelu(self.norm_1(self.W_1(x)), approximate=False)
        return jax.nn.relu(self.norm_2(self.W_2(hidden)))


class LMUFormerState(NamedTuple):
    """The last two inputs of every convolution, oldest first, and the memories of the blocks."""

    embedding: tuple[Float[Array, "2 D"], ...]
    blocks: tuple[MemoryState, ...]


class LMUFormer(Core[LMUFormerState]):
    """Embedding and blocks."""

    embedding: Embedding
    blocks: tuple[Block, ...]

    def __init__(self, width: int, num_layers: int, config: Config, *, key: PRNGKeyArray):
        key_embedding, key_blocks = jax.random.split(key)
        self.embedding = Embedding(width, config.norm, key=key_embedding)
        self.blocks = tuple(Block(width, config, key=k) for k in jax.random.split(key_blocks, num_layers))

    def initial_state(self) -> LMUFormerState:
        """The empty memory of every part."""
        return LMUFormerState(self.embedding.initial_state(), tuple(block.lmu.initial_state() for block in self.blocks))

    def scan(
        self, state: LMUFormerState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[LMUFormerState, Float[Array, "T D"]]:
        """Consume a segment, piece by piece."""
        return scan_chunks(self.consume, state, (xs, starts), PIECE)

    def consume(
        self, state: LMUFormerState, tokens: tuple[Float[Array, "T D"], Bool[Array, " T"]]
    ) -> tuple[LMUFormerState, Float[Array, "T D"]]:
        """Consume a piece, part by part."""
        xs, starts = tokens
        embedding, xs = self.embedding.scan(state.embedding, xs, starts)
        new = []
        for block, memory in zip(self.blocks, state.blocks, strict=True):
            memory, xs = block.scan(memory, xs, starts)
            new.append(memory)
        return LMUFormerState(embedding, tuple(new)), xs

    def eigenvalues(
        self, state: LMUFormerState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """The eigenvalues of every Ā, which no input changes."""
        pairs = zip(self.blocks, state.blocks, strict=True)
        return tuple(values for block, memory in pairs for values in block.lmu.eigenvalues(memory, xs, starts))


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """An LMUFormer: one embedding, then `num_layers` blocks."""
    return LMUFormer(width, num_layers, config, key=key)
