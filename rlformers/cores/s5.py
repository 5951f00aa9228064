"""S5: simplified structured state space layer (Smith et al. 2023), resettable (Lu et al. 2023).

    Λ̄ = exp(Λ Δ)      B̄ = (Λ̄ - 1) / Λ ⊙ B̃      h_t = Λ̄ ⊙ h_{t-1} + B̄ u_t      s_t = 2 Re(C̃ h_t) + D ⊙ u_t
    y = x + activation(SSM(LayerNorm(x)))

Λ = min(Λ_re, -1e-4) + i Λ_im, because an eigenvalue that training pushes into the right half plane
would explode in the long episodes of RL. Each conjugate pair is stored once, hence the factor 2. A
start replaces h by 0.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.complex import complex_product, real_pair, real_product
from rlformers.cores.core import Core
from rlformers.cores.hippo import hippo_eigenbasis
from rlformers.cores.layers import NORMS, Linear, Norm, lecun_normal, make_norm
from rlformers.cores.linear_scan import METHODS, linear_scan
from rlformers.cores.options import check_choices, check_least
from rlformers.cores.stack import Stack
from rlformers.cores.time_steps import check_time_steps
from rlformers.errors import UserError

ACTIVATIONS = ("gelu", "half_glu1", "half_glu2", "full_glu")
DISCRETIZATIONS = ("zoh", "bilinear")


@dataclass(frozen=True)
class Config:
    """Options of S5."""

    state_size: int = 64  # complex numbers in the state, P; conj_sym stores half
    blocks: int = 1  # HiPPO blocks of the initial block-diagonal matrix, J
    conj_sym: bool = True  # store one of each conjugate pair
    discretization: str = "zoh"  # zoh: zero-order hold; bilinear: bilinear rule
    activation: str = "half_glu1"  # nonlinearity after the state space
    dt_min: float = 1e-3  # smallest initial time step
    dt_max: float = 1e-1  # largest initial time step
    norm: str = "layer"  # norm of x; Lu et al. have none
    scan: str = "auto"  # algorithm of the recurrence

    def __post_init__(self) -> None:
        check_choices(self, discretization=DISCRETIZATIONS, activation=ACTIVATIONS, norm=NORMS, scan=METHODS)
        check_least(self, state_size=1, blocks=1)
        if self.state_size % (2 * self.blocks if self.conj_sym else self.blocks):
            raise UserError(
                f"core.state_size: {self.state_size} is not divisible by core.blocks={self.blocks}"
                + (" times 2 (conjugate pairs)" if self.conj_sym else "")
            )
        check_time_steps(self.dt_min, self.dt_max)


class S5State(NamedTuple):
    """The state of the linear system."""

    h: Complex[Array, " P"]


class S5(Core[S5State]):
    """One layer: norm, linear state space, activation, residual."""

    # The paper's code also trains these more slowly.
    slow_fields: ClassVar[tuple[str, ...]] = ("Lambda_re", "Lambda_im", "B", "log_step")

    norm: Norm
    Lambda_re: Float[Array, " P"]
    Lambda_im: Float[Array, " P"]
    B: Float[Array, "P D 2"]  # (re, im)
    C: Float[Array, "D P 2"]
    D: Float[Array, " D"]
    log_step: Float[Array, " P"]
    out1: Linear | None
    out2: Linear | None
    config: Config = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_B, key_C, key_D, key_step, key_out1, key_out2 = jax.random.split(key, 6)
        Lambda, V = hippo_eigenbasis(config.state_size, config.blocks, config.conj_sym)
        P = config.state_size
        B = lecun_normal(key_B, (width, P)).T  # variance 1 / D: the fan-in is the width
        C = lecun_normal(key_C, (2 * P, width)).T.reshape(width, P, 2) * 2**0.5  # variance 1 / P per part
        self.norm = make_norm(config.norm, width, eps=1e-6)
        self.Lambda_re = jnp.asarray(Lambda.real, B.dtype)
        self.Lambda_im = jnp.asarray(Lambda.imag, B.dtype)
        self.B = real_pair(V.conj().T @ B)
        self.C = real_pair((C[..., 0] + 1j * C[..., 1]) @ V)
        self.D = jax.random.normal(key_D, (width,))
        self.log_step = jax.random.uniform(
            key_step, Lambda.shape, minval=jnp.log(config.dt_min), maxval=jnp.log(config.dt_max)
        )
        self.out1 = Linear(width, width, key=key_out1) if config.activation == "full_glu" else None
        self.out2 = Linear(width, width, key=key_out2) if config.activation != "gelu" else None
        self.config = config

    def initial_state(self) -> S5State:
        """h = 0."""
        return S5State(jax.lax.complex(jnp.zeros_like(self.Lambda_re), jnp.zeros_like(self.Lambda_re)))

    def scan(
        self, state: S5State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[S5State, Float[Array, "T D"]]:
        """Consume a segment."""
        us = self.norm(xs)
        Lambda_bar, B_bar = self.discretize()
        h, hs = linear_scan(Lambda_bar, complex_product(us, B_bar), starts, state.h, self.config.scan)
        ys = self.read(hs) + self.D * us
        return S5State(h), xs + self.activate(ys)

    def eigenvalues(
        self, state: S5State, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """Λ̄."""
        return (self.discretize()[0][None],)

    def discretize(self) -> tuple[Complex[Array, " P"], Complex[Array, "P D"]]:
        """Λ̄ and B̄ for the learned step sizes Δ = exp(log_step)."""
        Lambda = jax.lax.complex(jnp.minimum(self.Lambda_re, -1e-4), self.Lambda_im)
        B = jax.lax.complex(self.B[..., 0], self.B[..., 1])
        dt = jnp.exp(self.log_step)
        if self.config.discretization == "zoh":
            # expm1, because (exp(z) - 1) / Λ loses 4 digits in float32 at the smallest steps.
            return jnp.exp(Lambda * dt), (jnp.expm1(Lambda * dt) / Lambda)[:, None] * B
        q = 1 / (1 - dt / 2 * Lambda)
        return q * (1 + dt / 2 * Lambda), (q * dt)[:, None] * B

    def read(self, h: Complex[Array, "T P"]) -> Float[Array, "T D"]:
        """Re(C̃ h), twice that if each conjugate pair is stored once."""
        return real_product(h, 2 * self.C if self.config.conj_sym else self.C)

    def activate(self, s: Float[Array, "*T D"]) -> Float[Array, "*T D"]:
        """The nonlinearity between the state space and the residual."""
        match self.config.activation, self.out1, self.out2:
            case "half_glu1", _, Linear() as out2:
                a = jax.nn.gelu(s)
                return a * jax.nn.sigmoid(out2(a))
            case "half_glu2", _, Linear() as out2:
                return s * jax.nn.sigmoid(out2(jax.nn.gelu(s)))
            case "full_glu", Linear() as out1, Linear() as out2:
                a = jax.nn.gelu(s)
                return out1(a) * jax.nn.sigmoid(out2(a))
        return jax.nn.gelu(s)


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of S5 layers."""
    return Stack(tuple(S5(width, config, key=k) for k in jax.random.split(key, num_layers)))
