"""Mamba-3: selective state space with rotations and the trapezoidal rule (Lahoti et al. 2026), single input and output.

    (z, v, B, C, δ, a, λ', φ) = W_in RMSNorm(x)      k = RMSNorm(B) + b_B      q = RMSNorm(C) + b_C
    Δ = softplus(δ + b_Δ)      A = -max(f(a), 1e-4)      λ = σ(λ')      θ = π tanh(φ) Δ      d = exp(A Δ - i θ)
    h_t = d_t ⊙ h_{t-1} + (1 - λ_t) Δ_t d_t ⊙ v_{t-1} k_{t-1}ᵀ + λ_t Δ_t v_t k_tᵀ      s_t = Re(h_t q̄_t) + D v_t
    y = x + W_out (s ⊙ silu(z))

f(a) = 1 + a for a >= 0, 1 / (1 - a) for a < 0. Heads have P channels, whose N real states form N/2
complex numbers. The first of these rotate by θ (all heads share φ) and the others do not. The
authors' code (state-spaces/mamba, `mamba3.py`) keeps h real and turns k and q by the angle Σ θ
since the start. That gives the same numbers, but the angle grows. There is no convolution; the term
with t-1 does its work. A start replaces h, k and v by 0.
"""

import itertools
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.core import Core
from rlformers.cores.layers import NORMS, Linear, RMSNorm, make_norm
from rlformers.cores.linear_scan import FUSED_METHODS, fused_scan
from rlformers.cores.options import check_choices, check_least
from rlformers.cores.products import einsum
from rlformers.cores.stack import Residual, Stack
from rlformers.cores.time_steps import check_time_steps, time_step_bias
from rlformers.errors import UserError


@dataclass(frozen=True)
class Config:
    """Options of Mamba-3."""

    state_size: int = 16  # real states per channel, N; two make a complex one
    head_size: int = 16  # channels per head, P
    expand: int = 2  # channels per width
    rotating: float = 0.5  # fraction of the state that rotates
    dt_min: float = 1e-3  # smallest initial time step
    dt_max: float = 1.0  # largest initial time step
    norm: str = "rms"  # norm of x; B and C always have RMSNorm
    scan: str = "auto"  # algorithm of the recurrence

    def __post_init__(self) -> None:
        check_least(self, head_size=1, expand=1)
        if self.state_size < 2 or self.state_size % 2:
            raise UserError(f"core.state_size: need an even number of at least 2, got {self.state_size}")
        if not 0 <= self.rotating <= 1:
            raise UserError(f"core.rotating: need a fraction between 0 and 1, got {self.rotating}")
        check_time_steps(self.dt_min, self.dt_max)
        check_choices(self, norm=NORMS, scan=FUSED_METHODS)


class Mamba3State(NamedTuple):
    """The state of the linear system and the last input, which the trapezoidal rule needs again."""

    h: Complex[Array, "H P n"]  # n = N / 2
    k: Complex[Array, "H n"]
    v: Float[Array, "H P"]


class Steps(NamedTuple):
    """What discretises the system, per head."""

    decay: Complex[Array, "T H n"]  # d
    dt: Float[Array, "T H"]  # Δ
    mix: Float[Array, "T H"]  # λ


class Mamba3(Core[Mamba3State]):
    """The layer's residual branch."""

    # The authors' code also treats these apart from the matrices: no weight decay. A comes from the
    # input.
    slow_fields: ClassVar[tuple[str, ...]] = ("D", "dt_bias")

    W_in: Linear  # x -> (z, v, B, C, δ, a, λ', φ)
    B_norm: RMSNorm
    C_norm: RMSNorm
    B_bias: Float[Array, "H N"]
    C_bias: Float[Array, "H N"]
    dt_bias: Float[Array, " H"]
    D: Float[Array, " H"]
    W_out: Linear
    scan_method: str = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        E, P, N = config.expand * width, config.head_size, config.state_size
        if E % P:
            raise UserError(f"core.head_size: {P} does not divide the {E} channels")
        H, angles = E // P, round(config.rotating * N / 2)
        key_in, key_bias, key_out = jax.random.split(key, 3)
        self.W_in = Linear(width, 2 * E + 2 * N + 3 * H + angles, key=key_in, use_bias=False)
        self.B_norm, self.C_norm = RMSNorm(N), RMSNorm(N)
        self.B_bias, self.C_bias = jnp.ones((H, N)), jnp.ones((H, N))
        self.dt_bias = time_step_bias(key_bias, H, config.dt_min, config.dt_max)
        self.D = jnp.ones(H)
        self.W_out = Linear(E, width, key=key_out, use_bias=False)
        self.scan_method = config.scan

    def initial_state(self) -> Mamba3State:
        """Zeros."""
        k = jnp.zeros_like(pairs(self.B_bias))
        v = jnp.zeros((len(self.D), self.W_out.weight.shape[0] // len(self.D)), self.D.dtype)
        return Mamba3State(v[:, :, None] * k[:, None], k, v)

    def scan(
        self, state: Mamba3State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Mamba3State, Float[Array, "T D"]]:
        """Consume a segment."""
        zs, vs, ks, qs, steps = self.project(xs)
        state, ss = trapezoidal_scan(steps, ks, qs, vs, starts, state, self.scan_method)
        ss = (ss + self.D[:, None] * vs).reshape(zs.shape)
        return state, self.W_out(ss * jax.nn.silu(zs))

    def project(self, xs: Float[Array, "T D"]) -> tuple[Array, Array, Array, Array, Steps]:
        """z, v, k, q, and what discretises the system."""
        (H, N), E = self.B_bias.shape, self.W_out.weight.shape[0]
        ends = list(itertools.accumulate((E, E, N, N, H, H, H)))
        zs, vs, Bs, Cs, deltas, As, mixes, phis = jnp.split(self.W_in(xs), ends, axis=-1)
        vs = vs.reshape(len(xs), H, E // H)
        ks = pairs(self.B_norm(Bs)[:, None] + self.B_bias)
        qs = pairs(self.C_norm(Cs)[:, None] + self.C_bias)
        dts = jax.nn.softplus(deltas + self.dt_bias)
        steps = discretize(-jnp.maximum(positive(As), 1e-4) * dts, dts, mixes, phis[:, None], N // 2)
        return zs, vs, ks, qs, steps

    def eigenvalues(
        self, state: Mamba3State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """d."""
        return (self.project(xs)[-1].decay.reshape(len(xs), -1),)


def pairs(x: Float[Array, "*T N"]) -> Complex[Array, "*T n"]:
    """Complex numbers whose real and imaginary parts are neighbours in x."""
    return jax.lax.complex(x[..., ::2], x[..., 1::2])


def positive(a: Float[Array, "*T"]) -> Float[Array, "*T"]:
    """1 + a for a >= 0 and 1 / (1 - a) for a < 0."""
    return jnp.maximum(a, 0) + 1 / (1 - jnp.minimum(a, 0))


def discretize(
    log_decays: Float[Array, "T H"],
    dts: Float[Array, "T H"],
    mixes: Float[Array, "T H"],
    phis: Float[Array, " T #H r"],
    num_pairs: int,
) -> Steps:
    """The decays d = exp(A Δ - i θ) from A Δ, Δ, λ' and φ; the first r of them rotate."""
    thetas = jnp.pi * jnp.tanh(phis) * dts[..., None]
    thetas = jnp.pad(thetas, ((0, 0), (0, 0), (0, num_pairs - thetas.shape[-1])))
    radii = jnp.exp(log_decays)[..., None]
    return Steps(jax.lax.complex(radii * jnp.cos(thetas), -radii * jnp.sin(thetas)), dts, jax.nn.sigmoid(mixes))


def trapezoidal_scan(
    steps: Steps,
    ks: Complex[Array, "T H n"],
    qs: Complex[Array, "T H n"],
    vs: Float[Array, "T H P"],
    starts: Bool[Array, " T"],
    state: Mamba3State,
    method: str,
) -> tuple[Mamba3State, Float[Array, "T H P"]]:
    """The last state and all Re(h_t q̄_t)."""

    def element(token: tuple[Array, ...]) -> tuple[Array, Array]:
        decay, k, v, k_old, v_old, _ = token
        return decay[:, None], v[:, :, None] * k[:, None] + v_old[:, :, None] * k_old[:, None]

    def read(h: Array, token: tuple[Array, ...]) -> Array:
        q = token[-1]
        return einsum("hpm,hm->hp", h.real, q.real) + einsum("hpm,hm->hp", h.imag, q.imag)

    def previous(first: Array, later: Array) -> Array:
        old = jnp.concatenate([first[None], later[:-1]])
        return jnp.where(starts[:, None, None], jnp.zeros_like(old), old)

    decays, dts, mixes = steps
    ks_old = ((1 - mixes) * dts)[..., None] * decays * previous(state.k, ks)
    tokens = (decays, (mixes * dts)[..., None] * ks, vs, ks_old, previous(state.v, vs), qs)
    h, ss = fused_scan(element, read, tokens, starts, state.h, method)
    return Mamba3State(h, ks[-1], vs[-1]), ss


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of Mamba-3 layers."""
    keys = jax.random.split(key, num_layers)
    return Stack(tuple(Residual(make_norm(config.norm, width), Mamba3(width, config, key=k)) for k in keys))
