"""LRU: linear recurrent unit (Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences").

    λ = exp(-exp(ν) + i exp(θ))      h_t = λ ⊙ h_{t-1} + exp(γ) ⊙ B u_t      s_t = Re(C h_t) + D ⊙ u_t
    y = x + GLU(GELU(s))             u = LayerNorm(x)                        GLU(a) = (W a + b) ⊙ σ(V a + c)

|λ| < 1 for every ν. λ starts uniform on the part of the ring r_min ≤ |λ| ≤ r_max with phases below max_phase, and
exp(γ) starts at √(1 - |λ|²), which gives h the variance of its inputs. The paper uses BatchNorm, but batch statistics
differ between acting and learning, hence the LayerNorm. A start replaces h by 0.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.complex import complex_product, real_product
from rlformers.cores.core import Core
from rlformers.cores.layers import GLU, NORMS, make_norm
from rlformers.cores.linear_scan import METHODS, linear_scan
from rlformers.cores.options import check_choices, check_least, check_positive
from rlformers.cores.stack import Residual, Stack
from rlformers.errors import UserError

# Bounds of |λ|: in float32 log |λ| fails near 0, and log(1 - |λ|²) near 1.
LEAST, MOST = 1e-3, 0.999999


@dataclass(frozen=True)
class Config:
    """Options of the LRU."""

    state_size: int = 64  # complex numbers in the state, P
    r_min: float = 0.9  # smallest initial |λ|
    r_max: float = 0.999  # largest initial |λ|
    max_phase: float = 6.28  # largest initial phase of λ, in radians
    norm: str = "layer"  # norm of x
    scan: str = "auto"  # algorithm of the recurrence

    def __post_init__(self) -> None:
        check_choices(self, norm=NORMS, scan=METHODS)
        check_least(self, state_size=1)
        check_positive(self, "max_phase")
        if not LEAST < self.r_max <= MOST:
            raise UserError(f"core.r_max: need more than {LEAST} and at most {MOST}, got {self.r_max}")
        if not 0 <= self.r_min < self.r_max:
            raise UserError(f"core.r_min: need 0 <= r_min < r_max, got {self.r_min} and {self.r_max}")


class LRUState(NamedTuple):
    """The state of the linear system."""

    h: Complex[Array, " P"]


class LRU(Core[LRUState]):
    """The layer's residual branch."""

    # The paper also trains the recurrent parameters more slowly.
    slow_fields: ClassVar[tuple[str, ...]] = ("nu_log", "theta_log", "gamma_log", "B")

    nu_log: Float[Array, " P"]  # ν
    theta_log: Float[Array, " P"]  # θ
    gamma_log: Float[Array, " P"]  # γ
    B: Float[Array, "P D 2"]  # (re, im)
    C: Float[Array, "D P 2"]
    D: Float[Array, " D"]
    glu: GLU  # (W, V)
    config: Config = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_r, key_phase, key_B, key_C, key_D, key_out = jax.random.split(key, 6)
        P = config.state_size
        square = jax.random.uniform(key_r, (P,), minval=max(config.r_min, LEAST) ** 2, maxval=config.r_max**2)
        phase = jax.random.uniform(key_phase, (P,), minval=1e-4 * config.max_phase, maxval=config.max_phase)
        self.nu_log = jnp.log(-0.5 * jnp.log(square))
        self.theta_log = jnp.log(phase)
        self.gamma_log = 0.5 * jnp.log1p(-square)
        self.B = jax.random.normal(key_B, (P, width, 2)) / (2 * width) ** 0.5
        self.C = jax.random.normal(key_C, (width, P, 2)) / P**0.5
        self.D = jax.random.normal(key_D, (width,))
        self.glu = GLU(width, key=key_out)
        self.config = config

    def initial_state(self) -> LRUState:
        """h = 0."""
        return LRUState(jax.lax.complex(jnp.zeros_like(self.nu_log), jnp.zeros_like(self.nu_log)))

    def scan(
        self, state: LRUState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[LRUState, Float[Array, "T D"]]:
        """Consume a segment."""
        state, ys = self.recur(state, xs, starts)
        return state, self.glu(jax.nn.gelu(ys + self.D * xs))

    def recur(
        self, state: LRUState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[LRUState, Float[Array, "T o"]]:
        """The recurrence alone: Re(C h)."""
        B = jnp.exp(self.gamma_log)[:, None] * jax.lax.complex(self.B[..., 0], self.B[..., 1])
        h, hs = linear_scan(self.decay(), complex_product(xs, B), starts, state.h, self.config.scan)
        return LRUState(h), real_product(hs, self.C)

    def decay(self) -> Complex[Array, " P"]:
        """λ."""
        return jnp.exp(jax.lax.complex(-jnp.exp(self.nu_log), jnp.exp(self.theta_log)))

    def eigenvalues(
        self, state: LRUState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """λ."""
        return (self.decay()[None],)


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of LRU layers."""
    keys = jax.random.split(key, num_layers)
    return Stack(tuple(Residual(make_norm(config.norm, width), LRU(width, config, key=k)) for k in keys))
