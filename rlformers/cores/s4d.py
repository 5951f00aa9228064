"""S4D: diagonal structured state space (Gu et al. 2022), one small system per channel.

    A = -exp(log_A_real) + i A_imag      Ā = exp(A Δ)      B̄ = (Ā - 1) / A
    h_t = Ā ⊙ h_{t-1} + B̄ u_t            s_t = 2 Re(Σ_n C_n h_tn) + D u_t          for each channel of u = LayerNorm(x)
    y = x + GLU(GELU(s))                 GLU(a) = (W a + b) ⊙ σ(V a + c)

Each conjugate pair is stored once, hence the factor 2. B is 1, because C absorbs it. This form of
S4 can reset inside a segment; the convolution of the full S4 cannot. A start replaces h by 0.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.core import Core
from rlformers.cores.hippo import hippo_eigenbasis
from rlformers.cores.layers import GLU, NORMS, make_norm
from rlformers.cores.linear_scan import FUSED_METHODS, fused_scan
from rlformers.cores.options import check_choices
from rlformers.cores.stack import Residual, Stack
from rlformers.cores.time_steps import check_time_steps
from rlformers.errors import UserError

INITS = ("lin", "inv", "legs")


@dataclass(frozen=True)
class Config:
    """Options of S4D."""

    state_size: int = 16  # states per channel, 2 N, in conjugate pairs
    init: str = "lin"  # initial frequencies
    dt_min: float = 1e-3  # smallest initial time step
    dt_max: float = 1e-1  # largest initial time step
    norm: str = "layer"  # norm of x
    scan: str = "auto"  # algorithm of the recurrence

    def __post_init__(self) -> None:
        check_choices(self, init=INITS, norm=NORMS, scan=FUSED_METHODS)
        if self.state_size < 2 or self.state_size % 2:
            raise UserError(f"core.state_size: need an even number of at least 2, got {self.state_size}")
        check_time_steps(self.dt_min, self.dt_max)


class S4DState(NamedTuple):
    """The states of the linear systems."""

    h: Complex[Array, "D N"]


class S4D(Core[S4DState]):
    """The layer's residual branch."""

    # The paper's code also trains these more slowly.
    slow_fields: ClassVar[tuple[str, ...]] = ("log_dt", "log_A_real", "A_imag")

    log_dt: Float[Array, " D"]
    log_A_real: Float[Array, "D N"]
    A_imag: Float[Array, "D N"]
    C: Float[Array, "D N 2"]  # (re, im)
    D: Float[Array, " D"]
    glu: GLU  # (W, V)
    config: Config = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_dt, key_C, key_D, key_out = jax.random.split(key, 4)
        A = jnp.asarray(initial_frequencies(config.init, config.state_size))
        shape = (width, config.state_size // 2)
        self.log_dt = jax.random.uniform(key_dt, (width,), minval=jnp.log(config.dt_min), maxval=jnp.log(config.dt_max))
        self.log_A_real = jnp.full(shape, jnp.log(0.5))
        self.A_imag = jnp.broadcast_to(A.astype(self.log_dt.dtype), shape)
        self.C = jax.random.normal(key_C, (*shape, 2)) * 0.5**0.5
        self.D = jax.random.normal(key_D, (width,))
        self.glu = GLU(width, key=key_out)
        self.config = config

    def initial_state(self) -> S4DState:
        """h = 0."""
        return S4DState(jax.lax.complex(jnp.zeros_like(self.A_imag), jnp.zeros_like(self.A_imag)))

    def scan(
        self, state: S4DState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[S4DState, Float[Array, "T D"]]:
        """Consume a segment."""
        A, z = self.system()
        # expm1, because exp(z) - 1 loses 4 digits in float32 at the smallest steps.
        A_bar, B_bar = jnp.exp(z), jnp.expm1(z) / A

        def element(u: Array) -> tuple[Array, Array]:
            return A_bar, B_bar * u[:, None]

        def read(h: Array, u: Array) -> Array:
            return 2 * (h.real * self.C[..., 0] - h.imag * self.C[..., 1]).sum(-1) + self.D * u

        h, ss = fused_scan(element, read, xs, starts, state.h, self.config.scan)
        return S4DState(h), self.glu(jax.nn.gelu(ss, approximate=False))

    def system(self) -> tuple[Complex[Array, "D N"], Complex[Array, "D N"]]:
        """A and A Δ."""
        A = jax.lax.complex(-jnp.exp(self.log_A_real), self.A_imag)
        return A, A * jnp.exp(self.log_dt)[:, None]

    def eigenvalues(
        self, state: S4DState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """Ā."""
        return (jnp.exp(self.system()[1]).reshape(1, -1),)


def initial_frequencies(init: str, N: int) -> np.ndarray:
    """Imaginary parts of the N / 2 stored eigenvalues; all three formulas have the real part -1/2."""
    n = np.arange(N // 2)
    match init:
        case "inv":
            return N / np.pi * (N / (2 * n + 1) - 1)
        case "legs":
            return -hippo_eigenbasis(N, 1, conj_sym=True)[0].imag
    return np.pi * n


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of S4D layers."""
    keys = jax.random.split(key, num_layers)
    return Stack(tuple(Residual(make_norm(config.norm, width), S4D(width, config, key=k)) for k in keys))
