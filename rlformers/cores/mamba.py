"""Mamba: selective state space S6 (Gu & Dao 2023), resettable.

    (u', z) = W_in RMSNorm(x)      u = silu(conv(u'))      (δ, B, C) = W_x u      Δ = softplus(W_Δ δ + b_Δ)
    h_t = exp(Δ_t A) ⊙ h_{t-1} + Δ_t u_t B_tᵀ      s_t = h_t C_t + D ⊙ u_t      y = x + W_out (s ⊙ silu(z))

There are E channels with N states each; A = -exp(A_log) has the shape (E, N). Euler's rule
discretises B, as in the authors' code (state-spaces/mamba, `mamba_simple.py`); the paper's equation
4 has a zero-order hold. A start replaces h and the past of the convolution by 0, so Δ, B, C of a
first token depend only on that token.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.conv import DepthwiseConv
from rlformers.cores.core import Core
from rlformers.cores.layers import NORMS, Linear, make_norm
from rlformers.cores.linear_scan import FUSED_METHODS, fused_scan
from rlformers.cores.options import check_choices, check_least
from rlformers.cores.products import matmul
from rlformers.cores.stack import Residual, Stack
from rlformers.cores.time_steps import check_time_steps, time_step_bias


@dataclass(frozen=True)
class Config:
    """Options of Mamba."""

    state_size: int = 16  # states per channel, N
    expand: int = 2  # channels per width, E / D
    conv_size: int = 4  # tokens that the convolution sees, K
    dt_min: float = 1e-3  # smallest initial time step
    dt_max: float = 1e-1  # largest initial time step
    norm: str = "rms"  # norm of x
    scan: str = "auto"  # algorithm of the recurrence

    def __post_init__(self) -> None:
        check_least(self, state_size=1, expand=1, conv_size=1)
        check_time_steps(self.dt_min, self.dt_max)
        check_choices(self, norm=NORMS, scan=FUSED_METHODS)


class MambaState(NamedTuple):
    """The last inputs of the convolution, oldest first, and the state of the linear system."""

    conv: Float[Array, "k E"]  # k = K - 1
    h: Float[Array, "E N"]


class Mamba(Core[MambaState]):
    """The layer's residual branch."""

    # The authors' code also treats these apart from the matrices: A_log and D have no weight decay,
    # and the bias of Δ has its own initialisation.
    slow_fields: ClassVar[tuple[str, ...]] = ("A_log", "D", "W_dt.bias")

    W_in: Linear  # x -> (u', z)
    conv: DepthwiseConv
    W_x: Linear  # u -> (δ, B, C)
    W_dt: Linear
    A_log: Float[Array, "E N"]
    D: Float[Array, " E"]
    W_out: Linear
    scan_method: str = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_in, key_conv, key_x, key_dt, key_bias, key_out = jax.random.split(key, 6)
        E, N, R = config.expand * width, config.state_size, -(-width // 16)

        def uniform(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
            return jax.random.uniform(key, shape, minval=-(R**-0.5), maxval=R**-0.5)

        W_dt = Linear(R, E, key=key_dt, init=uniform)
        self.W_in = Linear(width, 2 * E, key=key_in, use_bias=False)
        self.conv = DepthwiseConv(E, config.conv_size, key=key_conv)
        self.W_x = Linear(E, R + 2 * N, key=key_x, use_bias=False)
        self.W_dt = eqx.tree_at(lambda w: w.bias, W_dt, time_step_bias(key_bias, E, config.dt_min, config.dt_max))
        self.A_log = jnp.tile(jnp.log(jnp.arange(1.0, N + 1)), (E, 1))
        self.D = jnp.ones(E)
        self.W_out = Linear(E, width, key=key_out, use_bias=False)
        self.scan_method = config.scan

    def initial_state(self) -> MambaState:
        """Zeros."""
        return MambaState(self.conv.empty(), jnp.zeros_like(self.A_log))

    def scan(
        self, state: MambaState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[MambaState, Float[Array, "T D"]]:
        """Consume a segment."""
        conv, zs, dts, Bs, Cs, us = self.select(state, xs, starts)
        h, ss = selective_scan(-jnp.exp(self.A_log), dts, Bs, Cs, us, starts, state.h, self.scan_method)
        return MambaState(conv, h), self.W_out((ss + self.D * us) * jax.nn.silu(zs))

    def select(
        self, state: MambaState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Array, Array, Array, Array, Array, Array]:
        """The convolution's next buffer, and z, Δ, B, C and u of every token."""
        us, zs = jnp.split(self.W_in(xs), 2, axis=-1)
        conv, us = self.conv(state.conv, us, starts)
        us = jax.nn.silu(us)
        R, N = self.W_dt.weight.shape[0], self.A_log.shape[1]
        deltas, Bs, Cs = jnp.split(self.W_x(us), (R, R + N), axis=-1)
        return conv, zs, jax.nn.softplus(self.W_dt(deltas)), Bs, Cs, us

    def eigenvalues(
        self, state: MambaState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """exp(Δ A)."""
        _, _, dts, *_ = self.select(state, xs, starts)
        return (jnp.exp(-dts[..., None] * jnp.exp(self.A_log)).reshape(len(xs), -1).astype(complex),)


def selective_scan(
    A: Float[Array, "E N"],
    dts: Float[Array, "T E"],
    Bs: Float[Array, "T N"],
    Cs: Float[Array, "T N"],
    us: Float[Array, "T E"],
    starts: Bool[Array, " T"],
    h: Float[Array, "E N"],
    method: str,
) -> tuple[Float[Array, "E N"], Float[Array, "T E"]]:
    """The last state and all outputs h_t C_t of h_t = exp(Δ_t A) ⊙ h_{t-1} + Δ_t u_t B_tᵀ."""

    def element(token: tuple[Array, ...]) -> tuple[Array, Array]:
        dt, B, _, u = token
        return jnp.exp(dt[:, None] * A), jnp.outer(dt * u, B)

    def read(h: Array, token: tuple[Array, ...]) -> Array:
        return matmul(h, token[2])

    return fused_scan(element, read, (dts, Bs, Cs, us), starts, h, method)


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of Mamba layers."""
    keys = jax.random.split(key, num_layers)
    return Stack(tuple(Residual(make_norm(config.norm, width), Mamba(width, config, key=k)) for k in keys))
