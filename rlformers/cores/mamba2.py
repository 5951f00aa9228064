"""Mamba-2: selective state space with one decay per head, SSD (Dao & Gu 2024), resettable.

    (z, uBC', Δ') = W_in RMSNorm(x)      (u, B, C) = silu(conv(uBC'))      Δ = softplus(Δ' + b_Δ)
    h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t u_tᵀ      s_t = C_tᵀ h_t + D u_t      y = x + W_out RMSNorm(s ⊙ silu(z))

per head of P channels with N states each; A = -exp(A_log) is a number. The heads of a group share
B, C and the mean of the second RMSNorm. Matrix products compute a segment in chunks (chunked.py). A
start replaces h and the past of the convolution by 0.
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
from rlformers.cores.layers import NORMS, Linear, RMSNorm, make_norm
from rlformers.cores.linear_scan import PIECE
from rlformers.cores.options import check_choices, check_least
from rlformers.cores.stack import Residual, Stack
from rlformers.cores.time_steps import check_time_steps, time_step_bias
from rlformers.errors import UserError


@dataclass(frozen=True)
class Config:
    """Options of Mamba-2."""

    state_size: int = 16  # states per channel, N
    head_size: int = 16  # channels per head, P
    groups: int = 1  # groups of heads that share B and C
    expand: int = 2  # channels per width
    conv_size: int = 4  # tokens that the convolution sees, K
    dt_min: float = 1e-3  # smallest initial time step
    dt_max: float = 1e-1  # largest initial time step
    norm: str = "rms"  # norm of x; s ⊙ silu(z) always has RMSNorm
    chunk: int = 16  # tokens per chunk

    def __post_init__(self) -> None:
        check_choices(self, norm=NORMS)
        check_least(self, state_size=1, head_size=1, groups=1, expand=1, conv_size=1)
        check_time_steps(self.dt_min, self.dt_max)
        check_chunk(self.chunk)


class Mamba2State(NamedTuple):
    """The last inputs of the convolution, oldest first, and the states of the heads."""

    conv: Float[Array, "k C"]  # k = K - 1
    h: Float[Array, "H N P"]


class Mamba2(Core[Mamba2State]):
    """The layer's residual branch."""

    # The authors' code also treats these apart from the matrices: no weight decay.
    slow_fields: ClassVar[tuple[str, ...]] = ("A_log", "D", "dt_bias")

    W_in: Linear  # x -> (z, u', B', C', Δ')
    conv: DepthwiseConv
    dt_bias: Float[Array, " H"]
    A_log: Float[Array, " H"]
    D: Float[Array, " H"]
    norm: RMSNorm
    W_out: Linear
    config: Config = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_in, key_conv, key_dt, key_A, key_out = jax.random.split(key, 5)
        E, G, N = config.expand * width, config.groups, config.state_size
        if E % config.head_size:
            raise UserError(f"core.head_size: {config.head_size} does not divide the {E} channels")
        H = E // config.head_size
        if H % G:
            raise UserError(f"core.groups: {G} does not divide the {H} heads")
        self.W_in = Linear(width, 2 * (E + G * N) + H, key=key_in, use_bias=False)
        self.conv = DepthwiseConv(E + 2 * G * N, config.conv_size, key=key_conv)
        self.dt_bias = time_step_bias(key_dt, H, config.dt_min, config.dt_max)
        self.A_log = jnp.log(jax.random.uniform(key_A, (H,), minval=1.0, maxval=16.0))
        self.D = jnp.ones(H)
        self.norm = RMSNorm((G, E // G))
        self.W_out = Linear(E, width, key=key_out, use_bias=False)
        self.config = config

    def initial_state(self) -> Mamba2State:
        """Zeros."""
        shape = (len(self.D), self.config.state_size, self.config.head_size)
        return Mamba2State(self.conv.empty(), jnp.zeros(shape, self.D.dtype))

    def scan(
        self, state: Mamba2State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Mamba2State, Float[Array, "T D"]]:
        """Consume a segment."""
        H, G, N, P = len(self.D), self.config.groups, self.config.state_size, self.config.head_size
        zs, uBCs, dts = self.project(xs)
        conv, uBCs = self.conv(state.conv, uBCs, starts)
        us, Bs, Cs = jnp.split(jax.nn.silu(uBCs), (H * P, H * P + G * N), axis=-1)
        us = us.reshape(-1, H, P)
        Bs, Cs = (jnp.repeat(a.reshape(-1, G, N), H // G, axis=1) for a in (Bs, Cs))
        h, ss = memory_scan(Cs, Bs, dts[..., None] * us, -jnp.exp(self.A_log) * dts, starts, state.h, self.config.chunk)
        gated = (ss + self.D[:, None] * us).reshape(zs.shape) * jax.nn.silu(zs)
        return Mamba2State(conv, h), self.W_out(self.norm(gated.reshape(-1, *self.norm.scale.shape)).reshape(zs.shape))

    def project(self, xs: Float[Array, "T D"]) -> tuple[Array, Array, Array]:
        """z, the input of the convolution, and Δ."""
        H, G, N, P = len(self.D), self.config.groups, self.config.state_size, self.config.head_size
        zs, uBCs, dts = jnp.split(self.W_in(xs), (H * P, 2 * (H * P + G * N)), axis=-1)
        return zs, uBCs, jax.nn.softplus(dts + self.dt_bias)

    def eigenvalues(
        self, state: Mamba2State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """exp(Δ A), one per head."""
        return (jnp.exp(-jnp.exp(self.A_log) * self.project(xs)[2]).astype(complex),)


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of Mamba-2 layers."""
    keys = jax.random.split(key, num_layers)
    layers = (Residual(make_norm(config.norm, width), Mamba2(width, config, key=k), piece=PIECE) for k in keys)
    return Stack(tuple(layers))
